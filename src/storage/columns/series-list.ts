import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../records.ts';
import type { Series } from './series.ts';

/** Names that are looked up in one scan of the table, which has no index on the names. */
const NAMES_PER_SCAN = 64;

/**
 * The series that have rows, by name and by number. A new series gets its number with its first row, and is written to the
 * database with its first chunk.
 */
export class SeriesList {
  readonly #statements: ReturnType<typeof prepare>;
  readonly #byName: Record<Kind, Map<string, Series>> = { metric: new Map(), analytics: new Map() };
  readonly #byId = new Map<number, Series>();
  /** Series that are not in the database yet. */
  readonly #new = new Set<number>();
  #next = 1;

  constructor(client: Database) {
    this.#statements = prepare(client);
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    for (const kind of KINDS) this.#byName[kind].clear();
    this.#byId.clear();
    this.#new.clear();
    for (const series of this.#statements.all.all()) this.#set(series);
    this.#next = (this.#statements.last.get()?.last ?? 0) + 1;
  }

  /** Returns the series of a kind by name. */
  named(kind: Kind): ReadonlyMap<string, Series> {
    return this.#byName[kind];
  }

  /** Returns the series with a number; undefined if it has no rows. */
  byId(id: number): Series | undefined {
    return this.#byId.get(id);
  }

  /**
   * Returns the sealed series with some names. There is more than one with a name only after an interrupted removal.
   */
  sealed(kind: Kind, names: Iterable<string>): Pick<Series, 'id' | 'name'>[] {
    const all = [...names];
    const found: Pick<Series, 'id' | 'name'>[] = [];
    for (let start = 0; start < all.length; start += NAMES_PER_SCAN) {
      const searched = Array.from({ length: NAMES_PER_SCAN }, (_, i) => all[start + i] ?? (all[start] as string));
      found.push(...this.#statements.named.all(kind, ...searched));
    }
    return found;
  }

  /** Adds a new series. */
  add(kind: Kind, name: string): Series {
    const added = { id: this.#next++, kind, name };
    this.#set(added);
    this.#new.add(added.id);
    return added;
  }

  #set(series: Series): void {
    this.#byName[series.kind].set(series.name, series);
    this.#byId.set(series.id, series);
  }

  /** Removes a series. The next row with its name begins another one. */
  remove(series: Series): void {
    const named = this.#byName[series.kind];
    if (named.get(series.name) === series) named.delete(series.name);
    this.#byId.delete(series.id);
    this.#new.delete(series.id);
  }

  /** Writes a series to the database if it is new, in the caller's transaction. Call {@link markWritten} afterwards. */
  write({ id, kind, name }: Series): void {
    if (this.#new.has(id)) this.#statements.insert.run(id, kind, name);
  }

  /** Records that the transaction that wrote a series is committed. */
  markWritten(id: number): void {
    this.#new.delete(id);
  }

  /** Removes the series that are not in the database. */
  removeUnwritten(): void {
    for (const id of this.#new) this.remove(this.#byId.get(id) as Series); // new series are in both
  }
}

function prepare(client: Database) {
  return {
    all: client.prepare<Series, []>('SELECT id, kind, name FROM series WHERE name IS NOT NULL'),
    named: client.prepare<Pick<Series, 'id' | 'name'>, string[]>(
      `SELECT id, name FROM series WHERE kind = ? AND name IN (${Array(NAMES_PER_SCAN).fill('?').join()})`,
    ),
    last: client.prepare<{ last: number | null }, []>('SELECT max(id) AS last FROM series'),
    insert: client.prepare('INSERT INTO series (id, kind, name) VALUES (?, ?, ?)'),
  };
}
