/** Yielded by a job where its runner may finish other jobs before it continues. */
export const INTERRUPTIBLE = 'interruptible';

/**
 * Long work on the database, done in steps. A job yields between transactions so that queries can run and recording can
 * get the write lock. Its runner pauses every few milliseconds, for at least as long as the steps held the lock. A job may yield
 * its progress.
 *
 * Other jobs run between two steps only if the job yields {@link INTERRUPTIBLE}: it must then expect that they have changed
 * anything, except that its own rows are still there.
 */
export type Job<Result> = Generator<JobProgress | typeof INTERRUPTIBLE | undefined, Result>;

/** The progress of a job, for the operator. */
export interface JobProgress {
  /** What the job is doing: a participle and its object, such as "erasing rows". */
  readonly phase: string;
  readonly done: number;
  /** The amount of work in this phase; an estimate while users record. At least `done`. */
  readonly total: number;
}

/** Bytes after which a job's transaction commits: about what a slow disk writes in a few milliseconds. */
export const MAX_TRANSACTION_BYTES = 4 * 1024 * 1024;

/** When a job's transaction commits: after this time in milliseconds, or after this many bytes. */
export interface TransactionLimits {
  readonly ms: number;
  readonly bytes: number;
}

/** Limits for work that a caller waits for. The time is less than half of the 50 ms allowed for a transaction. */
export const SOON: TransactionLimits = { ms: 20, bytes: MAX_TRANSACTION_BYTES };
/** Limits for work that nobody waits for: a commit that has to wait for the write lock hardly notices it. */
export const IN_BACKGROUND: TransactionLimits = { ms: 3, bytes: 256 * 1024 };

/** A function that runs work in one transaction. */
export interface Transact {
  <Result>(work: () => Result): Result;
  /** How long its transactions have held the write lock so far, in milliseconds. */
  readonly heldMs: number;
}

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
  limits: TransactionLimits = SOON,
): Job<void> {
  const iterator = items[Symbol.iterator]();
  for (let next = iterator.next(); !next.done; ) {
    const done: Item[] = [];
    transact(() => {
      const deadline = performance.now() + limits.ms;
      let bytes = 0;
      do {
        const item: Item = next.value;
        bytes += each(item);
        done.push(item);
        next = iterator.next();
      } while (!next.done && bytes < limits.bytes && performance.now() < deadline);
      beforeCommit(done, next.done === true);
    });
    afterCommit(done);
    yield;
  }
}

/** Runs a job without letting other jobs run between its steps. */
export function* uninterrupted<Result>(job: Job<Result>): Job<Result> {
  for (;;) {
    const step = job.next();
    if (step.done) return step.value;
    yield step.value === INTERRUPTIBLE ? undefined : step.value;
  }
}

/**
 * Runs a job to completion without pauses. Only for offline commands and tests, where nothing else needs the database.
 *
 * @param onProgress called with each progress that the job yields
 */
export function runJob<Result>(job: Job<Result>, onProgress: (progress: JobProgress) => void = () => {}): Result {
  for (;;) {
    const { value, done } = job.next();
    if (done) return value;
    if (value && value !== INTERRUPTIBLE) onProgress(value);
  }
}
