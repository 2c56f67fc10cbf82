import type { ForwardUrl } from '../formats/forward-url.ts';
import type { S3Access } from '../formats/s3.ts';
import { KINDS, type Kind, type LogRecord } from '../records.ts';
import { lastIdOf, millisecondOf } from '../storage/record-id.ts';
import type { SetAsideRow, SinkStore, StoredSink } from '../storage/sink-store.ts';
import { failureReason } from './reason.ts';
import { type Outcome, type Sink, SinkConfigurationError, type SinkLimits, SinkUnavailableError } from './sink.ts';
import { createSink } from './sinks.ts';

/** The blocks of a sink that prefers no others: at most 10,000 rows and 4 MB, as soon as there are any. */
const BLOCK: SinkLimits = { rows: 10_000, bytes: 4 * 1024 * 1024, intervalMs: 0 };
/** How often rows are counted while a sink waits for a larger block, in milliseconds. */
const GATHER_CHECK_MS = 2_000;
/**
 * Smallest limit of a block, in rows. Each failed delivery halves the limit, each successful one doubles it. Imported rows
 * are always delivered in blocks of this size: old rows may belong to as many places, each with requests of its own.
 */
const MIN_BLOCK_ROWS = 100;
/** Postponed rows that are delivered together. */
const POSTPONED_ROWS = 1_000;
/** How long an engine may take for a block, and for an erasure, before it counts as failed, in milliseconds. */
const BLOCK_TIMEOUT_MS = 60_000;
const ERASURE_TIMEOUT_MS = 600_000;
/** Wait after the first failure, and the longest, in milliseconds. It doubles with each failure. */
const RETRY_MS = { first: 500, longest: 30_000 };
/** How often cursors are stored, in milliseconds, and after how many rows that were set aside. */
const SAVE_INTERVAL_MS = 500;
const SAVE_ROWS = 1_000;
/** Longest wait for new rows, in milliseconds. */
const IDLE_MS = 5_000;

/** What changes in a delivery that the operator should know. */
export type DeliveryEvent =
  | { readonly event: 'failed'; readonly reason: string }
  | { readonly event: 'recovered'; readonly failures: number }
  | { readonly event: 'erasure failed'; readonly reason: string }
  | { readonly event: 'warning'; readonly reason: string };

/** What all sinks are created with. */
export interface SinkAccess {
  /** NODE_ID, or the generated ID of this node. */
  readonly node: string;
  readonly s3: S3Access;
}

/** Delivers rows to one sink until it is stopped. */
export interface Delivery {
  /** The sink as it is known now, which may be ahead of what is stored. */
  current(): StoredSink;
  /** Why the sink is failing; undefined if it is not. */
  failure(): string | undefined;
  /** Looks for new rows now, unless the delivery waits after a failure. */
  wake(): void;
  /** Also ends a wait after a failure. */
  retryNow(): void;
  /** Continues from other cursors. Call it after {@link SinkStore.reset}. */
  reload(): void;
  /**
   * Stops, and stores the cursors. Does not wait for the engine.
   *
   * @throws SQLite's errors, as a rejection. The rows since the last stored cursor are then delivered again
   */
  stop(): Promise<void>;
}

/**
 * Starts to deliver rows to a sink. At any time, only one block is in memory, and only one call of the sink is made. After
 * an error, the same rows are read again: those that were erased meanwhile are blank.
 */
export function startDelivery(
  { scheme, name, href }: ForwardUrl,
  { node, s3 }: SinkAccess,
  store: SinkStore,
  onEvent: (event: DeliveryEvent) => void,
  onSaved: () => void,
): Delivery {
  const url = new URL(href);
  let isStopping = false;
  /** Ends the call or the wait that is in progress. */
  let interrupt = () => {};
  let stored = store.register(name);
  let cursors = { ...stored.cursors };
  let { importId } = stored;
  /** Rows that were not accepted since the cursors were stored. */
  let unsaved: SetAsideRow[] = [];
  let isChanged = false;
  let savedAt = 0;
  /** Set when the cursors have moved backward: an outcome that is still to come must not move them forward again. */
  let generation = 0;
  const warnings = new Set<string>();
  let sink: Sink | undefined;
  let isPrepared = false;
  /** Limit of the rows of a block after failures; Infinity if there were none. */
  let blockRows = Number.POSITIVE_INFINITY;
  /** When the rows of each kind are counted again, on the monotonic clock. */
  const checkAt: Record<Kind, number> = { metric: 0, analytics: 0 };
  let failures = 0;
  let failure: string | undefined;
  let erasureFailures = 0;
  /** When erasures that have failed are tried again, on the monotonic clock. */
  let nextErasureAt = 0;
  let wakeUp = Promise.withResolvers<void>();
  let retryUp = Promise.withResolvers<void>();

  /** Calls the sink. A call that takes too long is given up, with the sink: its calls are made one after another. */
  async function call<Result>(work: (sink: Sink, signal: AbortSignal) => Promise<Result>, timeoutMs: number) {
    sink ??= await createSink(scheme, { url, node, onWarning }, s3);
    const used = sink;
    const controller = new AbortController();
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = (reason: Error) => {
      controller.abort(reason);
      reject(reason);
    };
    const timer = setTimeout(
      () => abort(new SinkUnavailableError(`no response within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    interrupt = () => abort(new Error('stopped'));
    try {
      if (isStopping) interrupt();
      return await Promise.race([work(used, controller.signal), aborted]);
    } catch (error) {
      isPrepared = false;
      if (controller.signal.aborted) abandon();
      throw error;
    } finally {
      clearTimeout(timer);
      interrupt = () => {};
      reject(); // settled already, or nobody waits for it
    }
  }

  /** Reports a warning of the sink once. */
  function onWarning(reason: string): void {
    if (warnings.has(reason)) return;
    warnings.add(reason);
    onEvent({ event: 'warning', reason });
  }

  function abandon(): void {
    void sink?.close().catch(() => {}); // it is not used again
    sink = undefined;
    isPrepared = false;
  }

  async function prepare(): Promise<void> {
    if (isPrepared) return;
    await call((used, signal) => used.prepare(signal), BLOCK_TIMEOUT_MS);
    isPrepared = true;
  }

  const deliver = (kind: Kind, records: readonly LogRecord[]): Promise<Outcome> =>
    call((used, signal) => used.deliver({ kind, node, records }, signal), BLOCK_TIMEOUT_MS);

  /**
   * Repeats the erasures that are finished in the database. Rows wait for each attempt, up to {@link ERASURE_TIMEOUT_MS}. One
   * that fails is tried again later, after the rows that wait.
   */
  async function erase(): Promise<void> {
    if (performance.now() < nextErasureAt) return;
    for (const { id, userId, cutoffSeq } of store.dueErasures(stored.id)) {
      const erasure = { userId, cutoffSeq, cutoffId: lastIdOf(cutoffSeq) };
      try {
        await prepare();
        await call((used, signal) => used.erase(erasure, signal), ERASURE_TIMEOUT_MS);
        store.finishErasure(id);
        onSaved();
        erasureFailures = 0;
      } catch (error) {
        if (isStopping) throw error;
        if (erasureFailures++ === 0) onEvent({ event: 'erasure failed', reason: failureReason(error, url) });
        nextErasureAt = performance.now() + retryDelay(erasureFailures, error);
        return;
      }
    }
  }

  /** Delivers postponed rows that are due. */
  async function deliverPostponed(): Promise<void> {
    if ((store.nextDueAt(stored.id) ?? Number.POSITIVE_INFINITY) > Date.now()) return;
    for (const kind of KINDS) {
      const seqs = store.duePostponed(stored.id, kind, POSTPONED_ROWS);
      const records = store.readRows(kind, seqs);
      if (seqs.length === 0) continue;
      try {
        const outcome = records.length > 0 ? await deliver(kind, records) : undefined;
        store.settlePostponed(stored.id, kind, seqs, outcome ? setAsideBy(kind, outcome) : []);
      } catch (error) {
        // so that rows that make the engine fail do not block all others
        const reason = failureReason(error, url);
        const again = records.map(({ seq }) => ({ kind, seq, reason, isPostponed: true }));
        store.settlePostponed(stored.id, kind, seqs, again);
        throw error;
      } finally {
        onSaved();
      }
    }
  }

  /** Delivers the next imported rows that are behind the cursors. Returns whether there were any. */
  async function deliverImported(): Promise<boolean> {
    const imported = store.nextImported(importId);
    if (!imported) return false;
    const { id, kind, seqs } = imported;
    const behind = seqs.filter((seq) => seq <= cursors[kind]);
    const refused: SetAsideRow[] = [];
    for (let at = 0; at < behind.length; at += MIN_BLOCK_ROWS) {
      const records = store.readRows(kind, behind.slice(at, at + MIN_BLOCK_ROWS));
      if (records.length > 0) refused.push(...setAsideBy(kind, await deliver(kind, records)));
    }
    importId = id;
    isChanged = true;
    unsaved.push(...refused);
    return true;
  }

  /** Returns whether the rows of a kind are enough, or old enough, for the sink. */
  function isDue(kind: Kind, { rows, intervalMs }: SinkLimits): boolean {
    if (intervalMs === 0) return true;
    if (performance.now() < checkAt[kind]) return false;
    const waiting = store.countAfter(kind, cursors[kind], rows);
    if (waiting.rows >= rows) return true;
    if (waiting.rows > 0 && Date.now() - millisecondOf(waiting.first) >= intervalMs) return true;
    checkAt[kind] = performance.now() + GATHER_CHECK_MS;
    return false;
  }

  /** Delivers the next block of a kind. Returns whether there may be more rows. */
  async function deliverNext(kind: Kind): Promise<boolean> {
    const limits = sink?.limits ?? BLOCK;
    if (!isDue(kind, limits)) return false;
    const started = generation;
    const after = cursors[kind];
    const { bytes } = limits;
    const { records, next, isFull } = store.readBlock(kind, after, { bytes, rows: Math.min(limits.rows, blockRows) });
    const outcome = records.length > 0 ? await deliver(kind, records) : undefined;
    if (started !== generation) return true;
    if (next !== after) isChanged = true;
    cursors = { ...cursors, [kind]: next };
    if (outcome) unsaved.push(...setAsideBy(kind, outcome));
    return isFull;
  }

  function save(): void {
    store.save(stored.id, { cursors, importId }, unsaved);
    unsaved = [];
    isChanged = false;
    savedAt = performance.now();
    onSaved();
  }

  /** Does all that can be done now. Returns whether there may be more rows. */
  async function step(): Promise<boolean> {
    if (unsaved.length >= SAVE_ROWS || (isChanged && performance.now() - savedAt >= SAVE_INTERVAL_MS)) save();
    await erase();
    await prepare();
    await deliverPostponed();
    let hasMore = await deliverImported();
    for (const kind of KINDS) hasMore = (await deliverNext(kind)) || hasMore;
    blockRows *= 2;
    return hasMore;
  }

  async function run(): Promise<void> {
    while (!isStopping) {
      try {
        wakeUp = Promise.withResolvers();
        const hasMore = await step();
        if (failures > 0) onEvent({ event: 'recovered', failures });
        failures = 0;
        failure = undefined;
        if (!hasMore) {
          const saveInMs = isChanged ? Math.max(1, SAVE_INTERVAL_MS - (performance.now() - savedAt)) : IDLE_MS;
          await wait(Math.min(saveInMs, IDLE_MS), wakeUp.promise);
        }
      } catch (error) {
        if (isStopping) break;
        failure = failureReason(error, url);
        failures++;
        blockRows = Math.max(MIN_BLOCK_ROWS, Math.min(blockRows, (sink?.limits ?? BLOCK).rows) >> 1);
        if (failures === 1) onEvent({ event: 'failed', reason: failure });
        retryUp = Promise.withResolvers();
        await wait(retryDelay(failures, error), retryUp.promise);
      }
    }
  }

  /** Waits for a time, or until a promise resolves or the delivery is stopped. */
  async function wait(ms: number, earlier: Promise<void>): Promise<void> {
    const { promise: elapsed, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    interrupt = resolve;
    if (isStopping) resolve();
    await Promise.race([elapsed, earlier]);
    clearTimeout(timer);
    interrupt = () => {};
  }

  const running = run();

  return {
    current: () => ({ ...stored, cursors, importId }),
    failure: () => failure,
    wake: () => wakeUp.resolve(),
    retryNow() {
      nextErasureAt = 0;
      wakeUp.resolve();
      retryUp.resolve();
    },
    reload() {
      stored = store.register(name);
      cursors = { ...stored.cursors };
      unsaved = [];
      isChanged = false;
      generation++;
      wakeUp.resolve();
    },
    async stop() {
      isStopping = true;
      interrupt();
      await running;
      abandon();
      if (isChanged || unsaved.length > 0) save();
    },
  };
}

/** Returns the rows of an outcome that are set aside. */
function setAsideBy(kind: Kind, { rejected, postponed }: Outcome): SetAsideRow[] {
  const toRow = (isPostponed: boolean) => (row: Outcome['rejected'][number]) => ({
    ...{ kind, seq: row.seq, reason: row.reason, isPostponed },
  });
  return [...rejected.map(toRow(false)), ...postponed.map(toRow(true))];
}

/** Returns how long to wait after a number of failures, in milliseconds: half of it is random, so that nodes spread out. */
function retryDelay(failures: number, error: unknown): number {
  const isFinal = error instanceof SinkConfigurationError;
  const longest = isFinal ? RETRY_MS.longest : Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** (failures - 1));
  return longest * (0.5 + Math.random() / 2);
}
