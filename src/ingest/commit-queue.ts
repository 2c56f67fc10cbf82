import { Failure } from '../errors.ts';
import type { LogRecord } from '../records.ts';
import { type StorageFault, storageFault } from '../storage/faults.ts';
import type { Writer } from '../storage/writer.ts';

/** Waits between attempts while another process holds the database, in milliseconds: 2 s in all. */
const LOCK_RETRIES = [5, 15, 30, 50, 100, 200, 400, 500, 700];

/** Turns single records into shared commits. */
export interface CommitQueue {
  /**
   * Stores the records, all or none, together with whatever else has arrived. Resolves once they are
   * on the disk.
   *
   * @throws {Failure} `storage_unavailable`, `storage_full`, `internal` or `shutting_down`
   */
  store(records: readonly LogRecord[]): Promise<void>;
  /** Takes nothing more; resolves when all that was taken has been answered. */
  close(): Promise<void>;
}

interface Waiting {
  readonly records: readonly LogRecord[];
  readonly resolve: () => void;
  readonly reject: (failure: Failure) => void;
}

/**
 * Makes the queue before a writer: group commit. What arrives in one turn of the event loop shares a
 * transaction and its fsync; a lone record is committed at the end of its own turn, without a timer.
 *
 * @param onFailing called once when the storage is broken beyond retry: the process should end
 */
export function createCommitQueue(writer: Writer, onFailing: (fault: StorageFault) => void): CommitQueue {
  let waiting: Waiting[] = [];
  let running: Promise<void> | undefined;
  let closed = false;

  async function drain(): Promise<void> {
    await new Promise(setImmediate); // the rest of this turn's requests come first
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      await commit(group);
    }
    running = undefined;
  }

  async function commit(group: readonly Waiting[]): Promise<void> {
    const fault = await attempt(group.flatMap(({ records }) => records));
    if (fault === undefined) {
      for (const { resolve } of group) resolve();
    } else if (fault.kind === 'bug' && group.length > 1) {
      // One request's record is unfit for the database: it must not take its neighbours along
      for (const single of group) await commit([single]);
    } else {
      if (fault.kind === 'failing') onFailing(fault);
      for (const { reject } of group) reject(failureOf(fault));
    }
  }

  /** Commits, again and again while the database is locked. Returns why it could not be done. */
  async function attempt(records: readonly LogRecord[]): Promise<StorageFault | undefined> {
    for (const wait of [...LOCK_RETRIES, undefined]) {
      try {
        writer.commit(records);
        return undefined;
      } catch (error) {
        const fault = storageFault(error);
        if (fault.kind !== 'locked' || wait === undefined) return fault;
        await Bun.sleep(wait);
      }
    }
    return undefined;
  }

  return {
    store(records) {
      if (closed) return Promise.reject(new Failure('shutting_down'));
      return new Promise((resolve, reject) => {
        waiting.push({ records, resolve, reject });
        running ??= drain();
      });
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

/** What a caller is told of a storage fault. */
export function failureOf(fault: StorageFault): Failure {
  if (fault.kind === 'full') return new Failure('storage_full', { cause: fault });
  if (fault.kind === 'bug') return new Failure('internal', { cause: fault });
  return new Failure('storage_unavailable', { cause: fault });
}
