import { edenGC } from 'bun:jsc';
import { ApiError } from '../errors.ts';
import type { LogRecord } from '../records.ts';
import { type Count, STORED } from '../storage/ledger.ts';
import { type StorageError, toStorageError } from '../storage/storage-error.ts';
import type { CachedResponse, Change, UsedCode, UserName, Writer } from '../storage/writer.ts';
import type { Ledger } from './ledger.ts';
import { toApiError } from './to-api-error.ts';

/** How long another process may hold the database lock before requests are rejected. */
const LOCK_TIMEOUT_MS = 2_000;
/**
 * First and longest delay between two attempts while the database is locked. Maintenance of the column store alternates
 * between holding the lock for at most 50 ms and releasing it for as long, so the delay must fit into that gap.
 */
const LOCK_RETRY_MS = { first: 1, longest: 10 };
/**
 * Maximum rows per transaction, except for a single request with more rows. A transaction blocks the event loop for
 * about 4 µs per row. This limit leaves time to reject excess requests and to respond to probes.
 */
const MAX_COMMIT_ROWS = 2000;
/** How many rows another change counts as: a board of 64 KB takes as long to replace as 100 rows to insert. */
const ROWS_PER_CHANGE = 100;
/**
 * Maximum number of event-loop turns for which a group may grow; it stops earlier if a turn adds no request. A commit
 * uses as much CPU as ten requests, so larger groups leave more CPU for requests.
 */
const MAX_TURNS = 16;

/**
 * Number of requests after which the memory of completed ones is collected: about 3 MB. JavaScriptCore waits until the
 * heap has doubled, which is ten times as much, and meanwhile the allocator returns free memory to the kernel and gets it
 * back page by page. That took a fifth of the CPU time of recording.
 */
const REQUESTS_PER_COLLECTION = 1_000;

/**
 * The limits of the queue. The row limit applies to the rows already queued, not to those of a new request, so that the
 * request can be rejected before its body is read and its rows are counted.
 */
export interface QueueBounds {
  readonly rows: number;
  readonly bytes: number;
}

/** A queue that commits requests in groups. */
export interface CommitQueue {
  /**
   * Stores the records of a request, all or none, in one transaction with other queued requests. Resolves once they are
   * on disk. Without records, it tests whether a commit succeeds.
   *
   * @param bytes approximate memory used by the records and the other change
   * @param extras data to store in the same transaction
   * @throws {ApiError} `storage_unavailable`, `storage_full`, `internal`, `overloaded` or `shutting_down`
   */
  store(records: readonly LogRecord[], bytes: number, extras?: CommitExtras): Promise<void>;
  /**
   * Returns whether {@link store} would accept a request now. Called before a body is read.
   *
   * @param bytes minimum memory that its records will use
   */
  hasRoom(bytes: number): boolean;
  /** Returns why {@link store} rejects all requests; undefined while it accepts them. */
  closedReason(): ApiError | undefined;
  /** Stops accepting and committing requests: the database is damaged, and any write could do more damage. */
  halt(storageError: StorageError): void;
  /** Returns the queued rows and bytes. */
  depth(): QueueBounds;
  /** Stops accepting requests. Resolves when all queued requests have been committed or rejected. */
  close(): Promise<void>;
}

/** Data stored in the same transaction as a request's records. */
export interface CommitExtras {
  /** The response to repeat for the request's Idempotency-Key. */
  readonly response?: CachedResponse | undefined;
  /** Names that the user records for the first time. */
  readonly names?: readonly UserName[] | undefined;
  /** A sign-in code to mark as used. */
  readonly code?: UsedCode | undefined;
  /** Another change. If the transaction is retried, it runs again. */
  readonly change?: Change | undefined;
}

interface QueuedRequest {
  readonly records: readonly LogRecord[];
  readonly bytes: number;
  readonly extras: CommitExtras;
  readonly resolve: () => void;
  readonly reject: (error: ApiError) => void;
}

/** The requests that share a transaction. */
interface Group extends Contents {
  readonly requests: QueuedRequest[];
}

/** What a group stores. */
interface Contents {
  readonly records: LogRecord[];
  readonly responses: CachedResponse[];
  readonly names: UserName[];
  readonly codes: UsedCode[];
  readonly changes: Change[];
}

/**
 * Creates a commit queue with group commit. Requests that arrive during a commit, and in the event-loop turns after it,
 * share the next transaction and its fsync. A single request is committed as soon as the event loop is idle, without a
 * timer.
 *
 * @param ledger its unwritten counts are added to each commit
 * @param onFailing called when the storage has failed and a retry is pointless: the process should exit
 * @param onCommitted called with the records of each commit once they are on disk; must not throw
 */
export function createCommitQueue(
  writer: Pick<Writer, 'commit'>,
  ledger: Ledger,
  bounds: QueueBounds,
  onFailing: (storageError: StorageError) => void,
  onCommitted: (records: readonly LogRecord[]) => void = () => {},
): CommitQueue {
  let queued: QueuedRequest[] = [];
  let rows = 0;
  let bytes = 0;
  let lockedSince: number | undefined;
  /** Requests since the last collection. */
  let uncollected = 0;
  /** Whether a group is being gathered or committed. */
  let isDraining = false;
  /** Resolves {@link CommitQueue.close} once all requests are done. */
  let drained: PromiseWithResolvers<void> | undefined;
  let isClosed = false;
  /** The error that halted the queue. */
  let haltError: StorageError | undefined;

  /** Starts to gather the next group, if there is work. */
  function drain(): void {
    if (uncollected >= REQUESTS_PER_COLLECTION) {
      uncollected = 0;
      setImmediate(edenGC); // in the next turn, when the responses have been sent
    }
    isDraining = queued.length > 0;
    if (isDraining) gather(0, 0);
    else drained?.resolve();
  }

  /**
   * Commits a group after the first event-loop turn that adds no request. It always waits for one turn, because the
   * event loop polls no sockets between the end of an fsync and the next commit: under full load, several commits would
   * pass before any request is read or rejected.
   */
  function gather(turn: number, lengthBefore: number): void {
    if (turn > 0 && (turn >= MAX_TURNS || queued.length === lengthBefore || rows >= MAX_COMMIT_ROWS)) {
      const committed = commit(takeGroup());
      if (committed) void committed.then(drain);
      else drain();
    } else {
      setImmediate(gather, turn + 1, queued.length);
    }
  }

  function takeGroup(): Group {
    let groupRows = 0;
    let count = 0;
    for (const { records, extras } of queued) {
      const weight = records.length + (extras.change ? ROWS_PER_CHANGE : 0);
      if (count > 0 && groupRows + weight > MAX_COMMIT_ROWS) break;
      count++;
      groupRows += weight;
    }
    const requests = queued;
    queued = requests.splice(count);
    return createGroup(requests);
  }

  /** Commits a group. Returns undefined once it has been committed or rejected, or a promise that resolves then. */
  function commit(group: Group): Promise<void> | undefined {
    const outcome = attempt(group);
    if (outcome instanceof Promise) return outcome.then((storageError) => settle(group, storageError));
    return settle(group, outcome);
  }

  function settle(group: Group, storageError: StorageError | undefined): Promise<void> | undefined {
    const { requests, records } = group;
    uncollected += requests.length;
    if (storageError === undefined) {
      for (const request of requests) dequeue(request).resolve();
      onCommitted(records);
    } else if (storageError.kind === 'bug' && requests.length > 1) {
      // the database rejects a record of one request: commit the requests one by one, so that the others succeed
      return commitEach(requests);
    } else {
      if (storageError.kind === 'failing') onFailing(storageError);
      for (const request of requests) dequeue(request).reject(toApiError(storageError));
    }
    return undefined;
  }

  async function commitEach(requests: readonly QueuedRequest[]): Promise<void> {
    for (const request of requests) await commit(createGroup([request]));
  }

  /**
   * Commits a group, with retries while the database is locked. Not async, because a group that is synced on the main
   * thread is done when this returns.
   *
   * @returns the error if the group was not committed
   */
  function attempt(group: Contents): StorageError | undefined | Promise<StorageError | undefined> {
    if (haltError) return haltError;
    const counts = ledger.takeUnwritten();
    try {
      const synced = write(group, counts);
      if (synced === undefined) return succeed(group);
      return synced.then(
        () => succeed(group),
        (error) => retry(group, counts, error),
      );
    } catch (error) {
      return retry(group, counts, error);
    }
  }

  function write({ records, responses, names, codes, changes }: Contents, counts: Count[]): Promise<void> | undefined {
    const countsToWrite: Count[] = records.length > 0 ? [...counts, [STORED, records.length]] : counts;
    return writer.commit({ records, responses, names, codes, changes, counts: countsToWrite });
  }

  function succeed({ records }: Contents): undefined {
    ledger.stored(records.length);
    lockedSince = undefined;
  }

  /**
   * Handles a failed attempt, and retries while the database is locked. The timeout starts with the first attempt that
   * found the database locked, so later groups wait less, and after the timeout each group is tried only once.
   */
  async function retry(group: Contents, counts: Count[], error: unknown): Promise<StorageError | undefined> {
    let latest = error;
    for (let delay = LOCK_RETRY_MS.first; ; delay = Math.min(delay * 2, LOCK_RETRY_MS.longest)) {
      const storageError = toStorageError(latest);
      lockedSince = storageError.kind === 'locked' ? (lockedSince ?? performance.now()) : undefined;
      if (lockedSince === undefined || performance.now() - lockedSince >= LOCK_TIMEOUT_MS) {
        ledger.putBack(counts);
        return storageError;
      }
      await Bun.sleep(delay);
      try {
        await write(group, counts);
        return succeed(group);
      } catch (retryError) {
        latest = retryError;
      }
    }
  }

  function hasRoom(size: number): boolean {
    return rows < bounds.rows && bytes + size <= bounds.bytes;
  }

  function dequeue(request: QueuedRequest): QueuedRequest {
    rows -= request.records.length;
    bytes -= request.bytes;
    return request;
  }

  function closedReason(): ApiError | undefined {
    if (isClosed) return new ApiError('shutting_down');
    return haltError && toApiError(haltError);
  }

  return {
    store(records, size, extras = {}) {
      const error = closedReason();
      if (error) return Promise.reject(error);
      // a request that uses no space tests whether a commit succeeds, or deletes
      if (records.length + size > 0 && !hasRoom(size)) return Promise.reject(new ApiError('overloaded'));
      rows += records.length;
      bytes += size;
      return new Promise((resolve, reject) => {
        queued.push({ records, bytes: size, extras, resolve, reject });
        if (!isDraining) drain();
      });
    },
    hasRoom,
    closedReason,
    halt(storageError) {
      haltError ??= storageError;
    },
    depth: () => ({ rows, bytes }),
    async close() {
      isClosed = true;
      if (isDraining) {
        drained ??= Promise.withResolvers();
        await drained.promise;
      }
      // write the counts since the last commit
      await attempt({ records: [], responses: [], names: [], codes: [], changes: [] });
    },
  };
}

function createGroup(requests: QueuedRequest[]): Group {
  const group: Group = { requests, records: [], responses: [], names: [], codes: [], changes: [] };
  for (const { records, extras } of requests) {
    for (const record of records) group.records.push(record);
    if (extras.response) group.responses.push(extras.response);
    for (const name of extras.names ?? []) group.names.push(name);
    if (extras.code) group.codes.push(extras.code);
    if (extras.change) group.changes.push(extras.change);
  }
  return group;
}
