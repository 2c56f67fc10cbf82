import { ApiError } from '../errors.ts';
import { ClientDisconnectedError } from './caller.ts';

/** Queries that may wait, of all users and of one: beyond it they are rejected. */
const MAX_WAITING = 1024;
const MAX_WAITING_OF_USER = 256;
/**
 * Queries that run at once. The worker is one thread: with one here, a query that is canceled or that comes from
 * another user never waits for more than the one that runs.
 */
const MAX_RUNNING = 1;

/** Runs queries of different users in turns. */
export interface FairQueue {
  /**
   * Runs work when it is the user's turn.
   *
   * @param signal takes the work out of the queue when aborted; once it runs, the work has to look itself
   * @throws {ApiError} `queries_overloaded` when too many wait; what the work throws
   */
  run<Result>(userId: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result>;
  /** Rejects everything that waits. */
  close(reason: () => Error): void;
}

interface Entry {
  readonly start: () => void;
  readonly reject: (error: unknown) => void;
}

/** Makes a queue in which users take turns: each turn runs one query of the user who has waited longest for one. */
export function createFairQueue(): FairQueue {
  // in the order of turns: a Map keeps the order in which users were added
  const users = new Map<string, Entry[]>();
  let waiting = 0;
  let running = 0;

  function next(): void {
    while (running < MAX_RUNNING) {
      const turn = users.entries().next();
      if (turn.done) return;
      const [userId, entries] = turn.value;
      users.delete(userId);
      const entry = entries.shift();
      if (entries.length > 0) users.set(userId, entries); // at the end of the round
      waiting--;
      running++;
      entry?.start();
    }
  }

  function remove(userId: string, entry: Entry): void {
    const entries = users.get(userId);
    const at = entries?.indexOf(entry) ?? -1;
    if (!entries || at < 0) return;
    entries.splice(at, 1);
    waiting--;
    if (entries.length === 0) users.delete(userId);
  }

  return {
    run(userId, signal, work) {
      const own = users.get(userId)?.length ?? 0;
      if (waiting >= MAX_WAITING || own >= MAX_WAITING_OF_USER) {
        return Promise.reject(new ApiError('queries_overloaded'));
      }
      return new Promise((resolve, reject) => {
        const onAbort = () => {
          remove(userId, entry);
          reject(new ClientDisconnectedError());
        };
        const entry: Entry = {
          reject,
          start() {
            signal.removeEventListener('abort', onAbort);
            work()
              .then(resolve, reject)
              .finally(() => {
                running--;
                next();
              });
          },
        };
        signal.addEventListener('abort', onAbort, { once: true });
        const entries = users.get(userId);
        if (entries) entries.push(entry);
        else users.set(userId, [entry]);
        waiting++;
        next();
      });
    },
    close(reason) {
      for (const entries of users.values()) for (const { reject } of entries) reject(reason());
      users.clear();
      waiting = 0;
    },
  };
}
