/**
 * Work on the database in steps: it yields between transactions, so that queries run and recording gets the
 * write lock in between. Whoever runs it waits after each step about as long as the step took.
 */
export type Job<Result> = Generator<void, Result>;

/** Longest write transaction of a job, in milliseconds, until it looks at the clock: half of the 50 ms allowed. */
const MAX_TRANSACTION_MS = 20;
/** Most bytes that one transaction of a job writes, until it stops: what a slow disk takes in some milliseconds. */
const MAX_TRANSACTION_BYTES = 4 * 1024 * 1024;

/** Runs work in one transaction. */
export type Transact = <Result>(work: () => Result) => Result;

/**
 * Works through items in transactions that are bounded in time and bytes.
 *
 * @param each works on one item, and returns about how many bytes it wrote
 * @param beforeCommit called at the end of each transaction with the items that it worked on, and with
 *   whether they were the last ones
 * @param afterCommit called once a transaction is committed
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

/** Runs a job to its end without a pause, where nobody waits for the database: offline commands and tests. */
export function runJob<Result>(job: Job<Result>): Result {
  for (;;) {
    const { value, done } = job.next();
    if (done) return value;
  }
}
