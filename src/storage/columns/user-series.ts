import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';

/** Number of pairs of user and series cached in memory, 16 MB: enough for 50,000 users with 40 names each. */
const CACHED_PAIRS = 2 ** 21;
/** Estimated bytes written for a new pair: its share of a page. */
const PAIR_BYTES = 64;
/** Pairs deleted per statement. */
const CLEAR_BATCH = 2_000;

/** A pair of user and series. */
interface Pair {
  readonly user: number;
  readonly series: number;
}

/**
 * The series in which each user has sealed rows. No pair of user and series is ever missing, but a stored pair may no
 * longer have rows.
 */
export class UserSeries {
  readonly #transact: Transact;
  readonly #statements: ReturnType<typeof prepare>;
  /** Pairs that are known to be stored: each has one place, and replaces the pair that was there. User 0: free. */
  readonly #cachedUsers = new Uint32Array(CACHED_PAIRS);
  readonly #cachedSeries = new Uint32Array(CACHED_PAIRS);

  constructor(client: Database, transact: Transact) {
    this.#transact = transact;
    this.#statements = prepare(client);
  }

  reload(): void {
    this.#cachedUsers.fill(0);
  }

  /**
   * Stores the pairs of user and series that occur in rows, unless they are already stored. If it fails, call
   * {@link reload}.
   */
  *write(forEachRow: (visit: (series: number, user: number) => void) => void): Job<void> {
    const pairs: Pair[] = [];
    forEachRow((series, user) => {
      if (!this.#cache(user, series)) pairs.push({ user, series });
    });
    // Insert in key order so that neighboring pairs share pages.
    pairs.sort((a, b) => a.user - b.user || a.series - b.series);
    yield* inTransactions(this.#transact, pairs, ({ user, series }) => {
      this.#statements.insert.run(user, series);
      return PAIR_BYTES;
    });
  }

  /** Caches a pair. Returns whether it was cached before. */
  #cache(user: number, series: number): boolean {
    const place = placeOf(user, series);
    if (this.#cachedUsers[place] === user && this.#cachedSeries[place] === series) return true;
    this.#cachedUsers[place] = user;
    this.#cachedSeries[place] = series;
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
    if (this.#cachedUsers[place] === user && this.#cachedSeries[place] === series) this.#cachedUsers[place] = 0;
  }

  /** Removes all pairs, except those of users whose erasure is not finished: their labels and names are still stored. */
  *clear(): Job<void> {
    this.reload();
    while (this.#transact(() => this.#statements.clearSome.run().changes) > 0) yield;
  }
}

/** Returns the place of a pair in the cache. Fibonacci hashing spreads neighboring numbers. */
function placeOf(user: number, series: number): number {
  return (Math.imul(user, 0x9e3779b1) ^ Math.imul(series, 0x85ebca6b)) >>> (32 - Math.log2(CACHED_PAIRS));
}

function prepare(client: Database) {
  const isNotErased = 'user NOT IN (SELECT user_number FROM erasures WHERE user_number IS NOT NULL)';
  return {
    insert: client.prepare('INSERT OR IGNORE INTO user_series (user, series_id) VALUES (?, ?)'),
    seriesOf: client.prepare<{ series: number }, [number]>(
      'SELECT series_id AS series FROM user_series WHERE user = ?',
    ),
    remove: client.prepare('DELETE FROM user_series WHERE user = ? AND series_id = ?'),
    clearSome: client.prepare(
      `DELETE FROM user_series WHERE (user, series_id) IN (SELECT user, series_id FROM user_series WHERE ${isNotErased} LIMIT ${CLEAR_BATCH})`,
    ),
  };
}
