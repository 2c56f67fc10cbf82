import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';

/** Number of pairs of user and series cached in memory, 16 MB: enough for 50,000 users with 40 names each. */
const CACHED_PAIRS = 2 ** 21;
/** Estimated bytes written for a new pair: its share of a page. */
const PAIR_BYTES = 64;
/** Pairs deleted per statement. */
const CLEAR_BATCH = 2_000;

/** Pairs inserted per statement. */
const PAIRS_PER_STATEMENT = 16;
/** Pairs for which there is room at first. */
const FIRST_PAIRS = 32_768;

/**
 * The series in which each user has sealed rows. No pair of user and series is ever missing, but a stored pair may no
 * longer have rows.
 */
export class UserSeries {
  readonly #transact: Transact;
  readonly #statements: ReturnType<typeof prepare>;
  /** Pairs that are known to be stored: each has one place, and replaces the pair that was there. User 0: free. */
  readonly #cached = new Uint32Array(2 * CACHED_PAIRS);

  constructor(client: Database, transact: Transact) {
    this.#transact = transact;
    this.#statements = prepare(client);
  }

  reload(): void {
    this.#cached.fill(0);
  }

  /**
   * Stores the pairs of user and series that occur in rows, unless they are already stored. If it fails, call
   * {@link reload}.
   *
   * @param series the series of the rows, ascending
   */
  *write(series: readonly number[], forEachRow: (visit: (series: number, user: number) => void) => void): Job<void> {
    const ranks = new Map(series.map((id, rank) => [id, rank]));
    /** One number per pair, because typed arrays are sorted fastest as they are. */
    let keys = new Float64Array(FIRST_PAIRS);
    let count = 0;
    forEachRow((id, user) => {
      if (this.#cache(user, id)) return;
      if (count === keys.length) keys = grown(keys);
      keys[count++] = user * series.length + (ranks.get(id) as number); // every series of the rows is listed
    });
    // Insert in key order so that neighboring pairs share pages.
    const sorted = keys.subarray(0, count).sort();
    const starts = function* (): Generator<number> {
      for (let start = 0; start < count; start += PAIRS_PER_STATEMENT) yield start;
    };
    const values: number[] = [];
    yield* inTransactions(this.#transact, starts(), (start) => {
      const pairs = Math.min(PAIRS_PER_STATEMENT, count - start);
      values.length = 2 * pairs;
      for (let i = 0; i < pairs; i++) {
        const key = sorted[start + i] as number;
        const rank = key % series.length;
        values[2 * i] = (key - rank) / series.length;
        values[2 * i + 1] = series[rank] as number;
      }
      if (pairs === PAIRS_PER_STATEMENT) this.#statements.insertMany.run(...values);
      else
        for (let i = 0; i < pairs; i++)
          this.#statements.insert.run(values[2 * i] as number, values[2 * i + 1] as number);
      return pairs * PAIR_BYTES;
    });
  }

  /** Caches a pair. Returns whether it was cached before. */
  #cache(user: number, series: number): boolean {
    const place = placeOf(user, series);
    const cached = this.#cached;
    if (cached[place] === user && cached[place + 1] === series) return true;
    cached[place] = user;
    cached[place + 1] = series;
    return false;
  }

  /** Returns the series in which a user has, or once had, sealed rows. */
  seriesOf(user: number): number[] {
    return this.#statements.seriesOf.all(user).map(({ series }) => series);
  }

  /** Removes a pair whose rows are gone, in the caller's transaction. */
  remove(user: number, series: number): void {
    this.#statements.remove.run(user, series);
    const place = placeOf(user, series);
    if (this.#cached[place] === user && this.#cached[place + 1] === series) this.#cached[place] = 0;
  }

  /** Removes all pairs, except those of users whose erasure is not finished: their labels and names are still stored. */
  *clear(): Job<void> {
    this.reload();
    while (this.#transact(() => this.#statements.clearSome.run().changes) > 0) yield;
  }
}

function grown(keys: Float64Array): Float64Array<ArrayBuffer> {
  const longer = new Float64Array(2 * keys.length);
  longer.set(keys);
  return longer;
}

/** Returns the place of a pair in the cache. Fibonacci hashing spreads neighboring numbers. */
function placeOf(user: number, series: number): number {
  return 2 * ((Math.imul(user, 0x9e3779b1) ^ Math.imul(series, 0x85ebca6b)) >>> (32 - Math.log2(CACHED_PAIRS)));
}

function prepare(client: Database) {
  const isNotErased = 'user NOT IN (SELECT user_number FROM erasures WHERE user_number IS NOT NULL)';
  return {
    insert: client.prepare('INSERT OR IGNORE INTO user_series (user, series_id) VALUES (?, ?)'),
    insertMany: client.prepare(
      `INSERT OR IGNORE INTO user_series (user, series_id) VALUES ${Array(PAIRS_PER_STATEMENT).fill('(?, ?)').join()}`,
    ),
    seriesOf: client.prepare<{ series: number }, [number]>(
      'SELECT series_id AS series FROM user_series WHERE user = ?',
    ),
    remove: client.prepare('DELETE FROM user_series WHERE user = ? AND series_id = ?'),
    clearSome: client.prepare(
      `DELETE FROM user_series WHERE (user, series_id) IN (SELECT user, series_id FROM user_series WHERE ${isNotErased} LIMIT ${CLEAR_BATCH})`,
    ),
  };
}
