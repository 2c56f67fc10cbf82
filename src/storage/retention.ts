import { expiryOf, type Retention } from '../formats/retention.ts';
import { KINDS, type Kind } from '../records.ts';
import { overwrite, type RemovalContext } from './blanking.ts';
import type { Series } from './columns/column-store.ts';
import { RemovedKeys } from './columns/removed-keys.ts';
import { SHARDS } from './columns/user-rows.ts';
import { finishAll, finishDeletions } from './deletion.ts';
import type { UnfinishedDeletion } from './deletion-list.ts';
import { blankExpired, expiredBy } from './expiry.ts';
import { findImported, type ImportedPart, listImportedRows } from './imported-rows.ts';
import { INTERRUPTIBLE, inTransactions, type Job, type TransactionLimits } from './job.ts';
import { createExpiredSum, type RowSum } from './records.ts';
import { addSkipped, type StoredSink } from './sink-store.ts';

/** Rows that are looked up per statement: about 3 ms. */
const LOOKUP_ROWS = 1_000;
/** Number of removed rows, 16 MB of keys, after which they are removed from the index of user rows. */
const MAX_REMOVED_KEYS = 2 ** 21;
/** Estimated bytes written to begin the deletion of a name. */
const INTENT_BYTES = 500;

/** The records that are deleted, or would be. */
export interface Pruned {
  /** Number of records by kind. */
  readonly rows: Readonly<Record<Kind, number>>;
  /** Size of their fields in bytes, without that of their copies in the column store. */
  readonly bytes: number;
  /** How many of them each sink had not received; only sinks that miss some. */
  readonly skipped: readonly SkippedRows[];
}

/** Rows that are deleted before a sink has received them. */
export interface SkippedRows {
  /** The name of the sink. */
  readonly sink: string;
  readonly rows: number;
}

/** What the sinks that retention considers have received. */
export interface Delivered {
  readonly sinks: readonly Pick<StoredSink, 'name' | 'cursors' | 'importId'>[];
  /** Whether rows that a sink has not received are kept. Otherwise they are counted. */
  readonly isAwaited: boolean;
}

/** Transactions of imports that are looked up per statement: a few milliseconds. */
const LOOKUP_IMPORTS = 1_000;

const NO_SINKS: Delivered = { sinks: [], isAwaited: true };

/** What to delete. */
export interface PruneRequest {
  readonly retention: Retention;
  /** The current time, in milliseconds since 1970. */
  readonly now: number;
  /** By default, there are no sinks. */
  readonly delivered?: Delivered;
}

/** A series with rows that have expired. */
interface DueSeries {
  readonly series: Series;
  /** Rows that happened before this time have expired, in microseconds since 1970. */
  readonly before: number;
}

/**
 * Deletes the records that have expired, with their copies in the column store, including labels and names that no other
 * row has. Other jobs run between its steps.
 *
 * Each name is a deletion of its own. The intents of all names of a kind are committed first, then the rows of all of them
 * are blanked, then each name is removed from the column store. If the job is interrupted, {@link finishDeletions} finishes
 * those that have begun. Unlike a deletion with filters, it finds its rows through the chunks, so that it reads nothing that
 * has not expired: of a chunk, only the extent, except if labels of deleted rows are rare.
 *
 * @param limits of each transaction that blanks rows
 * @throws SQLite's errors; the deletions of some names then remain unfinished
 */
export function* pruneRecords(
  context: RemovalContext,
  { retention, now, delivered = NO_SINKS }: PruneRequest,
  limits?: TransactionLimits,
): Job<Pruned> {
  const { store, deletions } = context;
  yield* finishDeletions(context);
  yield* store.catchUp();
  const waiting = yield* findWaitingImports(context, delivered);
  const deliveredTo = findDelivered(delivered, waiting);
  const pruning = new Pruning(context, new Total(context, delivered, waiting), deliveredTo, limits);
  for (const kind of KINDS) {
    if (deliveredTo[kind] > 0) yield* pruning.prune(kind, findDue(context, kind, { retention, now }));
  }
  const { total } = pruning;
  if (pruning.hasBegun) {
    yield* overwrite(context);
    store.transact(() => {
      deletions.trim();
      for (const { sink, rows } of total.report().skipped) addSkipped(context.client, sink, rows);
    });
  }
  return total.report();
}

/** Returns what {@link pruneRecords} would delete now, and deletes nothing. */
export function* countExpired(context: RemovalContext, request: PruneRequest): Job<Pruned> {
  const { client, store } = context;
  yield* store.finishRebuild();
  yield* store.catchUp();
  const { delivered = NO_SINKS } = request;
  const waiting = yield* findWaitingImports(context, delivered);
  const deliveredTo = findDelivered(delivered, waiting);
  const total = new Total(context, delivered, waiting);
  for (const kind of KINDS) {
    const lastSeq = deliveredTo[kind];
    const sum = createExpiredSum(client, kind);
    for (const { series, before } of findDue(context, kind, request)) {
      for (const seqs of store.seqsBefore(series, before)) {
        for (let at = 0; at < seqs.length; at += LOOKUP_ROWS) {
          const part = seqs.slice(at, at + LOOKUP_ROWS).filter((seq) => seq <= lastSeq);
          total.add(kind, sum(part, before));
          total.skip(kind, [...part], (skipped) => sum(Float64Array.from(skipped), before).rows);
          yield;
        }
      }
    }
  }
  return total.report();
}

/** The `seq` up to which rows of each kind may be deleted; 0 if none may. */
type DeliveredTo = Readonly<Record<Kind, number>>;

/** Returns up to where sinks allow to delete. Imported rows that one has not received may lie behind its cursors. */
function findDelivered({ sinks, isAwaited }: Delivered, waiting: readonly ImportedPart[]): DeliveredTo {
  const limits = { metric: Number.MAX_SAFE_INTEGER, analytics: Number.MAX_SAFE_INTEGER };
  if (!isAwaited || sinks.length === 0) return limits;
  for (const kind of KINDS) limits[kind] = Math.min(...sinks.map(({ cursors }) => cursors[kind]));
  for (const { kind, first } of waiting) limits[kind] = Math.max(0, Math.min(limits[kind], first - 1));
  return limits;
}

/** Returns the imported rows that a sink has not received. */
function* findWaitingImports({ client }: RemovalContext, { sinks }: Delivered): Job<ImportedPart[]> {
  const waiting: ImportedPart[] = [];
  if (sinks.length === 0) return waiting;
  for (let after: number | undefined = Math.min(...sinks.map(({ importId }) => importId)); after !== undefined; ) {
    const parts: ImportedPart[] = listImportedRows(client, after, LOOKUP_IMPORTS);
    waiting.push(...parts);
    after = parts.length === LOOKUP_IMPORTS ? parts.at(-1)?.id : undefined;
    yield;
  }
  return waiting;
}

/** Returns the series with rows that have expired. */
function findDue({ store }: RemovalContext, kind: Kind, { retention, now }: PruneRequest): DueSeries[] {
  return store.extents(kind).flatMap(({ series, extent }) => {
    const before = expiryOf(retention, kind, series.name, now);
    return before !== undefined && extent.minTime < before ? [{ series, before }] : [];
  });
}

/** A prune in progress. */
class Pruning {
  readonly total: Total;
  readonly #context: RemovalContext;
  readonly #deliveredTo: DeliveredTo;
  readonly #limits: TransactionLimits | undefined;
  #hasBegun = false;

  constructor(context: RemovalContext, total: Total, deliveredTo: DeliveredTo, limits: TransactionLimits | undefined) {
    this.total = total;
    this.#deliveredTo = deliveredTo;
    this.#context = context;
    this.#limits = limits;
  }

  /** Whether the intent of a deletion was stored, even if it had no rows. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Deletes the expired rows of a kind. */
  *prune(kind: Kind, expired: readonly DueSeries[]): Job<void> {
    const { store, deletions } = this.#context;
    const due = yield* this.#withDelivered(kind, expired);
    if (due.length === 0) return;
    this.#hasBegun = true;
    const begun = yield* this.#begin(kind, due);
    if (begun.some(({ cutoffSeq }) => store.sealedTo(kind) < cutoffSeq)) yield* store.seal();
    const { loads } = store;
    const onBlanked = (seqs: readonly number[]) => this.total.skip(kind, seqs, (skipped) => skipped.length);
    this.total.add(kind, yield* blankExpired(this.#context, kind, begun, this.#limits, onBlanked));
    let removed = new RemovedKeys(SHARDS);
    for (const deletion of begun) {
      // another job may have finished it
      if (store.loads === loads && deletions.isUnfinished(deletion.id))
        yield* this.#removeFromColumns(deletion, loads, removed);
      yield INTERRUPTIBLE;
      if (removed.size < MAX_REMOVED_KEYS) continue;
      yield* store.removal.unlistRows(kind, removed);
      removed = new RemovedKeys(SHARDS);
    }
    // an interruption before this leaves entries of blank rows
    yield* store.removal.unlistRows(kind, removed);
    // if the chunks were built again, labels of rows that are already removed are in none of them
    const left = begun.filter(({ id }) => deletions.isUnfinished(id));
    this.total.add(kind, { rows: yield* finishAll(this.#context, left), bytes: 0 });
  }

  /** Leaves out the series whose expired rows all wait for a sink. Reads a chunk of each, if there are sinks. */
  *#withDelivered(kind: Kind, expired: readonly DueSeries[]): Job<readonly DueSeries[]> {
    const lastSeq = this.#deliveredTo[kind];
    if (lastSeq === Number.MAX_SAFE_INTEGER) return expired;
    const due: DueSeries[] = [];
    for (const each of expired) {
      for (const [first] of this.#context.store.seqsBefore(each.series, each.before)) {
        yield;
        if (first === undefined) continue;
        if (first <= lastSeq) due.push(each);
        break;
      }
    }
    return due;
  }

  /** Commits the intents. */
  *#begin(kind: Kind, due: readonly DueSeries[]): Job<UnfinishedDeletion[]> {
    const { store, deletions } = this.#context;
    const begun: UnfinishedDeletion[] = [];
    yield* inTransactions(
      store.transact,
      due,
      ({ series, before }) => {
        const filter = { user: undefined, name: series.name, from: undefined, to: before };
        const applied = store.hasUnsealedBefore(series, before) ? store.position(kind) : store.sealedTo(kind);
        const cutoffSeq = Math.min(applied, this.#deliveredTo[kind]);
        const deletion = { kind, filter, cutoffSeq };
        begun.push({ id: deletions.begin(deletion), ...deletion });
        return INTENT_BYTES;
      },
      undefined,
      undefined,
      this.#limits,
    );
    return begun;
  }

  /**
   * Removes the rows of a deletion from the chunks of its series, and finishes it, unless another job finishes it or rebuilds
   * the column store.
   *
   * @param loads the number of times that the column store was loaded when the rows were blanked
   * @param removed collects the keys of the rows
   */
  *#removeFromColumns(deletion: UnfinishedDeletion, loads: number, removed: RemovedKeys): Job<void> {
    const { store, deletions } = this.#context;
    for (const series of expiredBy(this.#context, deletion)) {
      const steps = store.removal.removeExpired(series, removed);
      for (let step = steps.next(); !step.done; step = steps.next()) {
        yield step.value;
        if (step.value !== INTERRUPTIBLE) continue;
        if (deletions.isUnfinished(deletion.id) && store.loads === loads) continue;
        steps.return();
        return;
      }
    }
    // before it is finished: whatever truncates the write-ahead log after that marks it as overwritten
    if (deletion.kind === 'analytics') yield* store.blankStaleColumns();
    store.transact(() => deletions.finish(deletion.id));
    yield;
  }
}

/** Adds up what is pruned. */
class Total {
  readonly rows: Record<Kind, number> = { metric: 0, analytics: 0 };
  bytes = 0;
  readonly #client: RemovalContext['client'];
  readonly #waiting: readonly ImportedPart[];
  readonly #sinks: readonly {
    readonly cursors: StoredSink['cursors'];
    readonly importId: number;
    readonly skipped: { sink: string; rows: number };
  }[];

  /** @param waiting the imported rows that a sink has not received */
  constructor({ client }: RemovalContext, { sinks }: Delivered, waiting: readonly ImportedPart[]) {
    this.#client = client;
    this.#waiting = waiting;
    this.#sinks = sinks.map(({ name, ...sink }) => ({ ...sink, skipped: { sink: name, rows: 0 } }));
  }

  report(): Pruned {
    const skipped = this.#sinks.flatMap((sink) => (sink.skipped.rows > 0 ? sink.skipped : []));
    return { rows: this.rows, bytes: this.bytes, skipped };
  }

  /**
   * Counts those of some rows that sinks have not received: rows after their cursors, and imported ones.
   *
   * @param count counts some of the rows
   */
  skip(kind: Kind, seqs: readonly number[], count: (seqs: readonly number[]) => number): void {
    for (const { cursors, importId, skipped } of this.#sinks) {
      const imported = findImported(this.#client, kind, importId, seqs, this.#waiting);
      skipped.rows += count(seqs.filter((seq) => seq > cursors[kind] || imported.has(seq)));
    }
  }

  add(kind: Kind, { rows, bytes }: RowSum): void {
    this.rows[kind] += rows;
    this.bytes += bytes;
  }
}
