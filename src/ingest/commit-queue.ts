import { ApiError } from '../errors.ts';
import type { LogRecord } from '../records.ts';
import { type Count, STORED } from '../storage/ledger.ts';
import { type StorageError, toStorageError } from '../storage/storage-error.ts';
import type { CachedResponse, UsedCode, UserName, Writer } from '../storage/writer.ts';
import type { Ledger } from './ledger.ts';
import { toApiError } from './to-api-error.ts';

/** How long a database may be held by another process until requests are refused, in milliseconds. */
const LOCK_PATIENCE = 2_000;
/**
 * The first pause between two attempts while it does, and the longest, in milliseconds. Maintenance of the column store
 * holds the lock for 50 ms at most, and leaves it for as long: the pause must find that gap.
 */
const LOCK_PAUSE = { first: 1, longest: 10 };
/**
 * Rows of one transaction, at most. A transaction stops the event loop, for about 4 µs a row: with this
 * many it turns in time to refuse what is too much, and to answer probes.
 */
const MAX_COMMIT_ROWS = 2000;
/**
 * For how many turns of the event loop a group may grow, as long as each brings new requests. A commit
 * costs the processor as much as ten requests: larger groups leave more of it to them.
 */
const MAX_TURNS = 16;

/**
 * What may wait to be committed. A request is taken as long as fewer rows wait, all of its rows with it:
 * whether it will be refused is then known before its body is read, when nobody has counted them.
 */
export interface QueueBounds {
  readonly rows: number;
  readonly bytes: number;
}

/** Turns requests into shared commits. */
export interface CommitQueue {
  /**
   * Stores the records, all or none, together with whatever else has arrived. Resolves once they are
   * on the disk. With no records it finds out whether a commit succeeds.
   *
   * @param bytes how much memory they take, about
   * @param along what else is stored with them, in the same transaction
   * @throws {ApiError} `storage_unavailable`, `storage_full`, `internal`, `overloaded` or `shutting_down`
   */
  store(records: readonly LogRecord[], bytes: number, along?: StoredAlong): Promise<void>;
  /**
   * Whether {@link store} would take a request now: to be asked before anything is spent on reading one.
   *
   * @param bytes how much memory its records will take, at least
   */
  hasRoom(bytes: number): boolean;
  /** Why {@link store} would take nothing any more; undefined as long as it would. */
  closedReason(): ApiError | undefined;
  /** Takes and commits nothing from now on: the database is damaged, and every write may make it worse. */
  halt(storageError: StorageError): void;
  /** What waits for its commit now. */
  depth(): QueueBounds;
  /** Takes nothing more; resolves when all that was taken has been answered. */
  close(): Promise<void>;
}

/** What is stored in the transaction of a request's records. */
export interface StoredAlong {
  /** The response to repeat for the request's Idempotency-Key. */
  readonly response?: CachedResponse | undefined;
  /** Names that the user records for the first time. */
  readonly names?: readonly UserName[] | undefined;
  /** A sign-in code that is used up. */
  readonly code?: UsedCode | undefined;
}

interface Waiting {
  readonly records: readonly LogRecord[];
  readonly bytes: number;
  readonly along: StoredAlong;
  readonly resolve: () => void;
  readonly reject: (error: ApiError) => void;
}

/** A group of requests that share a transaction. */
interface Group {
  readonly requests: Waiting[];
  readonly records: LogRecord[];
  readonly responses: CachedResponse[];
  readonly names: UserName[];
  readonly codes: UsedCode[];
}

/**
 * Makes the queue before a writer: group commit. What arrives while the disk works, and in the turns of
 * the event loop after it, shares the next transaction and its fsync; a lone record is committed as soon
 * as the loop has nothing else to do, without a timer.
 *
 * @param ledger what it has not written yet goes into each commit
 * @param onFailing called when the storage is broken beyond retry: the process should end
 * @param onCommitted told of the records of each commit once they are on the disk; must not throw
 */
export function createCommitQueue(
  writer: Pick<Writer, 'commit'>,
  ledger: Ledger,
  bounds: QueueBounds,
  onFailing: (storageError: StorageError) => void,
  onCommitted: (records: readonly LogRecord[]) => void = () => {},
): CommitQueue {
  let waiting: Waiting[] = [];
  let rows = 0;
  let bytes = 0;
  let lockedSince: number | undefined;
  let running: Promise<void> | undefined;
  let closed = false;
  /** Why nothing is committed any more. */
  let damage: StorageError | undefined;

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      await gather();
      await commit(takeGroup());
    }
    running = undefined;
  }

  /**
   * Resolves at the end of the first turn that brings no new request: at once where nothing goes on. One turn
   * is always waited for. From the end of an fsync to the next commit the event loop looks at no socket by
   * itself: while commits are full, several of them would pass before anybody is refused or read.
   */
  async function gather(): Promise<void> {
    let before: number;
    let turn = 0;
    do {
      before = waiting.length;
      await nextTurn();
    } while (++turn < MAX_TURNS && waiting.length > before && rows < MAX_COMMIT_ROWS);
  }

  function takeGroup(): Group {
    let rowsOfGroup = 0;
    let count = 0;
    for (const { records } of waiting) {
      if (count > 0 && rowsOfGroup + records.length > MAX_COMMIT_ROWS) break;
      count++;
      rowsOfGroup += records.length;
    }
    const requests = waiting;
    waiting = requests.splice(count);
    return groupOf(requests);
  }

  async function commit(group: Group): Promise<void> {
    const { requests, records } = group;
    const storageError = await attempt(group);
    if (storageError === undefined) {
      for (const request of requests) leave(request).resolve();
      onCommitted(records);
    } else if (storageError.kind === 'bug' && requests.length > 1) {
      // one request's record is unfit for the database: it must not take its neighbors along
      for (const request of requests) await commit(groupOf([request]));
    } else {
      if (storageError.kind === 'failing') onFailing(storageError);
      for (const request of requests) leave(request).reject(toApiError(storageError));
    }
  }

  /**
   * Commits, again and again while the database is locked. Patience runs from the first attempt that
   * met the lock: who comes later waits the less, and beyond it each group tries once.
   *
   * @returns why it could not be done
   */
  async function attempt({
    records,
    responses,
    names,
    codes,
  }: Omit<Group, 'requests'>): Promise<StorageError | undefined> {
    if (damage) return damage;
    const counts: Count[] = ledger.takeUnwritten();
    const added: Count[] = records.length > 0 ? [...counts, [STORED, records.length]] : counts;
    for (let pause = LOCK_PAUSE.first; ; pause = Math.min(pause * 2, LOCK_PAUSE.longest)) {
      try {
        await writer.commit({ records, responses, names, codes, counts: added });
        ledger.stored(records.length);
        lockedSince = undefined;
        return undefined;
      } catch (error) {
        const storageError = toStorageError(error);
        lockedSince = storageError.kind === 'locked' ? (lockedSince ?? performance.now()) : undefined;
        if (lockedSince === undefined || performance.now() - lockedSince >= LOCK_PATIENCE) {
          ledger.putBack(counts);
          return storageError;
        }
        await Bun.sleep(pause);
      }
    }
  }

  function hasRoom(size: number): boolean {
    return rows < bounds.rows && bytes + size <= bounds.bytes;
  }

  function leave(request: Waiting): Waiting {
    rows -= request.records.length;
    bytes -= request.bytes;
    return request;
  }

  function closedReason(): ApiError | undefined {
    if (closed) return new ApiError('shutting_down');
    return damage && toApiError(damage);
  }

  return {
    store(records, size, along = {}) {
      const error = closedReason();
      if (error) return Promise.reject(error);
      // what has no records takes no room: it only asks whether a commit succeeds
      if (records.length > 0 && !hasRoom(size)) return Promise.reject(new ApiError('overloaded'));
      rows += records.length;
      bytes += size;
      return new Promise((resolve, reject) => {
        waiting.push({ records, bytes: size, along, resolve, reject });
        running ??= drain();
      });
    },
    hasRoom,
    closedReason,
    halt(storageError) {
      damage ??= storageError;
    },
    depth: () => ({ rows, bytes }),
    async close() {
      closed = true;
      await running;
      // what the ledger has counted since the last commit
      await attempt({ records: [], responses: [], names: [], codes: [] });
    },
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function groupOf(requests: Waiting[]): Group {
  const group: Group = { requests, records: [], responses: [], names: [], codes: [] };
  for (const { records, along } of requests) {
    for (const record of records) group.records.push(record);
    if (along.response) group.responses.push(along.response);
    for (const name of along.names ?? []) group.names.push(name);
    if (along.code) group.codes.push(along.code);
  }
  return group;
}
