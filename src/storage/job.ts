/**
 * Long work on the database, done in steps. A job yields between transactions so that queries can run and recording can
 * get the write lock. Its runner pauses after each step for about as long as the step took.
 */
export type Job<Result> = Generator<void, Result>;

/** Time after which a job's transaction commits, in milliseconds. Less than half of the 50 ms allowed for one. */
const MAX_TRANSACTION_MS = 20;
/** Bytes after which a job's transaction commits: about what a slow disk writes in a few milliseconds. */
export const MAX_TRANSACTION_BYTES = 4 * 1024 * 1024;

/** A function that runs work in one transaction. */
export type Transact = <Result>(work: () => Result) => Result;

/**
 * Processes items in transactions of bounded time and size.
 *
 * @param each processes one item and returns the approximate number of bytes written
 * @param beforeCommit called at the end of each transaction with the items processed in it, and whether they are
 *   the last ones
 * @param afterCommit called after each transaction is committed, with the same items
 */
export function* inTransactions<Item>(
  transact: Transact,
  items: Iterable<Item>,
  each: (item: Item) => number,
  beforeCommit: (done: readonly Item[], isLast: boolean) => void = () => {},
  afterCommit: (done: readonly Item[]) => void = () => {},
): Job<void> {
  const iterator = items[Symbol.iterator]();
  for (let next = iterator.next(); !next.done; ) {
    const done: Item[] = [];
    transact(() => {
      const deadline = performance.now() + MAX_TRANSACTION_MS;
      let bytes = 0;
      do {
        const item: Item = next.value;
        bytes += each(item);
        done.push(item);
        next = iterator.next();
      } while (!next.done && bytes < MAX_TRANSACTION_BYTES && performance.now() < deadline);
      beforeCommit(done, next.done === true);
    });
    afterCommit(done);
    yield;
  }
}

/** Runs a job to completion without pauses. Only for offline commands and tests, where nothing else needs the database. */
export function runJob<Result>(job: Job<Result>): Result {
  for (;;) {
    const { value, done } = job.next();
    if (done) return value;
  }
}
