import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';

/** Pairs of user and series that are known to be stored; about 12 MB. */
const MAX_KNOWN = 300_000;
/** Bytes that a new pair writes, about: a page of the table is touched for it. */
const PAIR_BYTES = 64;
/** Pairs removed in one statement. */
const CLEAR_BATCH = 2_000;

/** Users by series. */
type Pairs = Map<number, Set<number>>;

/** Which users have sealed rows in which series. A pair may stand for no rows any more; it is never missing. */
export class UserSeries {
  readonly #transact: Transact;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #known: Pairs = new Map();
  #knownPairs = 0;

  constructor(client: Database, transact: Transact) {
    this.#transact = transact;
    this.#statements = prepare(client);
  }

  reload(): void {
    this.#known.clear();
    this.#knownPairs = 0;
  }

  /** Stores the pairs of rows; those that are stored already stay. */
  *write(forEachRow: (visit: (series: number, user: number) => void) => void): Job<void> {
    const found: Pairs = new Map();
    forEachRow((series, user) => {
      if (!this.#known.get(series)?.has(user)) usersOf(found, series).add(user);
    });
    const pairs = [...found].flatMap(([series, users]) => Array.from(users, (user) => ({ user, series })));
    // in the order of the table's key, so that neighbors share pages
    pairs.sort((a, b) => a.user - b.user || a.series - b.series);
    if (this.#knownPairs + pairs.length > MAX_KNOWN) this.reload();
    yield* inTransactions(
      this.#transact,
      pairs,
      ({ user, series }) => {
        this.#statements.insert.run(user, series);
        return PAIR_BYTES;
      },
      undefined,
      (done) => {
        for (const { user, series } of done) usersOf(this.#known, series).add(user);
        this.#knownPairs += done.length;
      },
    );
  }

  /** The series in which a user has sealed rows, or had some. */
  seriesOf(user: number): number[] {
    return this.#statements.seriesOf.all(user).map(({ series }) => series);
  }

  /** Removes a pair, in the caller's transaction: the series has no row of the user any more. */
  remove(user: number, series: number): void {
    this.#statements.remove.run(user, series);
    this.#known.get(series)?.delete(user);
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
