import type { Database } from 'bun:sqlite';

/** Texts whose numbers are kept in memory between two writes of chunks, of users and of labels each: about 20 MB. */
const TEXT_CACHE = 100_000;

/** Numbers for texts: a table of the database, and what is not written to it yet. */
export class Dictionary {
  readonly #client: Database;
  readonly #table: 'users' | 'labels';
  readonly #column: string;
  /** Numbers by series and text: those that are looked up again and again. */
  readonly #known = new Map<number, Map<string, number>>();
  #knownTexts = 0;
  /** What is not in the database yet. */
  readonly #new = new Map<number, { series: number; text: string }>();
  #next = 1;

  constructor(client: Database, table: 'users' | 'labels') {
    this.#client = client;
    this.#table = table;
    this.#column = table === 'users' ? 'user_id' : 'label';
    this.reload();
  }

  reload(): void {
    this.#forget();
    this.#new.clear();
    const row = this.#client.query<{ last: number | null }, []>(`SELECT max(id) AS last FROM ${this.#table}`).get();
    this.#next = (row?.last ?? 0) + 1;
  }

  #forget(): void {
    this.#known.clear();
    this.#knownTexts = 0;
  }

  get limit(): number {
    return this.#next;
  }

  /** @param series whose text it is; 0 for users, who have no series */
  find(text: string, series = 0): number | undefined {
    const near = this.#known.get(series)?.get(text);
    if (near !== undefined) return near;
    const scope = series === 0 ? '' : `series_id = ${series} AND`;
    const row = this.#client
      .query<{ id: number }, [string]>(`SELECT id FROM ${this.#table} WHERE ${scope} ${this.#column} = ?`)
      .get(text);
    if (row) this.#remember(series, text, row.id);
    return row?.id;
  }

  #remember(series: number, text: string, number: number): void {
    let texts = this.#known.get(series);
    if (!texts) {
      texts = new Map();
      this.#known.set(series, texts);
    }
    texts.set(text, number);
    this.#knownTexts++;
  }

  numberFor(text: string, series = 0): number {
    const found = this.find(text, series);
    if (found !== undefined) return found;
    const number = this.#next++;
    this.#new.set(number, { series, text });
    this.#remember(series, text, number);
    return number;
  }

  text(number: number): string {
    const near = this.#new.get(number);
    if (near !== undefined) return near.text;
    const row = this.#client
      .query<{ text: string }, [number]>(`SELECT ${this.#column} AS text FROM ${this.#table} WHERE id = ?`)
      .get(number);
    if (!row) throw new Error(`there is no ${this.#column} ${number}`);
    return row.text;
  }

  /** Writes what is new; {@link written} once that is committed. */
  write(): void {
    if (this.#table === 'users') {
      const insert = this.#client.query('INSERT INTO users (id, user_id) VALUES (?, ?)');
      for (const [number, { text }] of this.#new) insert.run(number, text);
    } else {
      const insert = this.#client.query('INSERT INTO labels (id, series_id, label) VALUES (?, ?, ?)');
      for (const [number, { series, text }] of this.#new) insert.run(number, series, text);
    }
  }

  written(): void {
    this.#new.clear();
    // only now: what is new is known here alone
    if (this.#knownTexts > TEXT_CACHE) this.#forget();
  }
}
