import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';

/** Maximum number of pairs of user and series cached in memory, about 12 MB. */
const MAX_CACHED_PAIRS = 300_000;
/** Estimated bytes written for a new pair: its share of a page. */
const PAIR_BYTES = 64;
/** Pairs deleted per statement. */
const CLEAR_BATCH = 2_000;

/** Users by series. */
type Pairs = Map<number, Set<number>>;

/**
 * The series in which each user has sealed rows. No pair of user and series is ever missing, but a stored pair may no
 * longer have rows.
 */
export class UserSeries {
  readonly #transact: Transact;
  readonly #statements: ReturnType<typeof prepare>;
  /** Pairs that are known to be stored. */
  readonly #cache: Pairs = new Map();
  #cachedPairs = 0;

  constructor(client: Database, transact: Transact) {
    this.#transact = transact;
    this.#statements = prepare(client);
  }

  reload(): void {
    this.#cache.clear();
    this.#cachedPairs = 0;
  }

  /** Stores the pairs of user and series that occur in rows, unless they are already stored. */
  *write(forEachRow: (visit: (series: number, user: number) => void) => void): Job<void> {
    const uncached: Pairs = new Map();
    forEachRow((series, user) => {
      if (!this.#cache.get(series)?.has(user)) usersOf(uncached, series).add(user);
    });
    const pairs = [...uncached].flatMap(([series, users]) => Array.from(users, (user) => ({ user, series })));
    // Insert in key order so that neighboring pairs share pages.
    pairs.sort((a, b) => a.user - b.user || a.series - b.series);
    if (this.#cachedPairs + pairs.length > MAX_CACHED_PAIRS) this.reload();
    yield* inTransactions(
      this.#transact,
      pairs,
      ({ user, series }) => {
        this.#statements.insert.run(user, series);
        return PAIR_BYTES;
      },
      undefined,
      (done) => {
        for (const { user, series } of done) usersOf(this.#cache, series).add(user);
        this.#cachedPairs += done.length;
      },
    );
  }

  /** Returns the series in which a user has, or once had, sealed rows. */
  seriesOf(user: number): number[] {
    return this.#statements.seriesOf.all(user).map(({ series }) => series);
  }

  /** Removes a pair whose rows are gone, in the caller's transaction. */
  remove(user: number, series: number): void {
    this.#statements.remove.run(user, series);
    this.#cache.get(series)?.delete(user);
  }

  /** Removes all pairs. */
  *clear(): Job<void> {
    this.reload();
    while (this.#transact(() => this.#statements.clearSome.run().changes) > 0) yield;
  }
}

function usersOf(pairs: Pairs, series: number): Set<number> {
  let users = pairs.get(series);
  if (!users) {
    users = new Set();
    pairs.set(series, users);
  }
  return users;
}

function prepare(client: Database) {
  return {
    insert: client.prepare('INSERT OR IGNORE INTO user_series (user, series_id) VALUES (?, ?)'),
    seriesOf: client.prepare<{ series: number }, [number]>(
      'SELECT series_id AS series FROM user_series WHERE user = ?',
    ),
    remove: client.prepare('DELETE FROM user_series WHERE user = ? AND series_id = ?'),
    clearSome: client.prepare(
      `DELETE FROM user_series WHERE (user, series_id) IN (SELECT user, series_id FROM user_series LIMIT ${CLEAR_BATCH})`,
    ),
  };
}
