import { ApiError } from '../errors.ts';
import { BACKGROUND, ClientDisconnectedError, type QueryCaller } from './caller.ts';

/** Limits on waiting queries, in total and per user. Further queries are rejected. */
const MAX_WAITING = 1024;
const MAX_WAITING_PER_USER = 256;
/** Places reserved for callers that may read all rows. */
const RESERVED_WAITING = 256;
/**
 * Queries that run at once. The worker is a single thread, so more than one would only queue there, where queries cannot
 * be canceled and users do not take turns.
 */
const MAX_RUNNING = 1;

/**
 * Turns of users for which {@link BACKGROUND} waits at most: seconds of them. Otherwise a user who never stops sending
 * queries could keep the server from noticing that something is wrong.
 */
const MAX_PASSED_OVER = 100;

/** A queue in which users take turns. */
export interface FairQueue {
  /**
   * Runs work when it is the user's turn.
   *
   * @param caller its signal removes the work from the queue when aborted; once running, the work has to observe the signal
   * @throws {ApiError} `queries_overloaded` if too many queries are waiting
   * @throws {ClientDisconnectedError} if the signal is aborted before the work runs
   * @throws any error of the work
   */
  run<Result>(caller: Omit<QueryCaller, 'onFinished'>, work: () => Promise<Result>): Promise<Result>;
  /** Rejects all waiting queries. */
  close(reason: () => Error): void;
}

interface Entry {
  readonly start: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Creates a queue in which users take turns. Each turn runs one query of the user who has waited longest for a turn, and of
 * {@link BACKGROUND} only if no user waits.
 */
export function createFairQueue(): FairQueue {
  // in the order of turns: a Map preserves the insertion order of users
  const users = new Map<string, Entry[]>();
  let waiting = 0;
  let running = 0;
  /** Turns for which the background has waited. */
  let passedOver = 0;

  /** Returns whose turn it is; undefined if nobody waits. */
  function nextUser(): [userId: string, entries: Entry[]] | undefined {
    const background = users.get(BACKGROUND);
    const isOverdue = background !== undefined && passedOver >= MAX_PASSED_OVER;
    const turn = isOverdue ? undefined : users.entries().find(([userId]) => userId !== BACKGROUND);
    passedOver = background && turn ? passedOver + 1 : 0;
    return turn ?? (background && [BACKGROUND, background]);
  }

  function next(): void {
    while (running < MAX_RUNNING) {
      const turn = nextUser();
      if (!turn) return;
      const [userId, entries] = turn;
      users.delete(userId);
      const entry = entries.shift();
      if (entries.length > 0) users.set(userId, entries); // to the back of the queue
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
    run({ userId, canReadAll, signal }, work) {
      const waitingOfUser = users.get(userId)?.length ?? 0;
      const places = canReadAll ? MAX_WAITING : MAX_WAITING - RESERVED_WAITING;
      if (waiting >= places || waitingOfUser >= MAX_WAITING_PER_USER) {
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
