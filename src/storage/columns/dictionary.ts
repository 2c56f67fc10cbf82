import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';
import type { TextHash } from '../text-hash.ts';
import { TextNumbers } from './text-numbers.ts';

/** Memory for cached texts, for users and for labels each, in bytes. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** Estimated size of an entry of the table excluding its text, in bytes. */
const ENTRY_BYTES = 80;

/** A text that has a number but is not in the database yet. */
interface NewText {
  readonly scope: number;
  readonly text: string;
  readonly hash: number;
}

/** A number with a hash, and its text; null once it is erased. */
interface Found {
  readonly id: number;
  readonly text: string | null;
}

/** The numbers that replace those of texts that are not in the database yet. */
export type Renumbering = (number: number) => number;

/**
 * A dictionary that encodes texts as numbers: a table in the database, plus new texts that are not written yet. A number
 * is never reused, even after its text was erased.
 *
 * Texts belong to a scope: labels to their series, users to scope 0. Texts are looked up by hash, because an index on
 * the texts would leave copies of them wherever SQLite splits a page.
 */
export class Dictionary {
  readonly #transact: Transact;
  readonly #hash: TextHash;
  /** Cached numbers of written texts. */
  readonly #cache = new TextNumbers();
  /** Numbers of the texts in `#new`. */
  readonly #newNumbers = new TextNumbers();
  /** Texts that are not in the database yet, by their number minus {@link #firstNew}; undefined once they are not needed. */
  #new: (NewText | undefined)[] = [];
  /** Numbers in `#new` of each scope, and perhaps some that are no longer there. */
  readonly #newOfScope = new Map<number, number[]>();
  #newBytes = 0;
  #firstNew = 1;
  /** All texts before this number are in the database. */
  #writtenTo = 1;
  /** Numbers that are being erased. Their texts are still in the database, but are no longer found. */
  readonly #retired = new Set<number>();
  #next = 1;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(client: Database, table: 'users' | 'labels', transact: Transact, hash: TextHash) {
    this.#transact = transact;
    this.#hash = hash;
    this.#statements = prepare(client, table);
    this.reload();
  }

  /** Drops all in-memory state, including texts that are not written yet. */
  reload(): void {
    this.#cache.clear();
    this.#retired.clear();
    this.#next = (this.#statements.last.get()?.last ?? 0) + 1;
    this.#dropNew();
  }

  /** Drops the list of new texts, once all of them are written. */
  #dropNew(): void {
    this.#new = [];
    this.#newNumbers.clear();
    this.#newOfScope.clear();
    this.#newBytes = 0;
    this.#firstNew = this.#next;
    this.#writtenTo = this.#next;
  }

  /** The largest number plus one. */
  get limit(): number {
    return this.#next;
  }

  /** Approximate size of the texts that are not in the database yet, in bytes. */
  get newBytes(): number {
    return this.#newBytes;
  }

  /** Returns the number of a text; undefined if it has none. */
  find(text: string, scope = 0): number | undefined {
    return this.#known(text, scope) ?? this.#read(text, scope, this.#hash(text, scope));
  }

  /** Returns the number of a text. Assigns a new number if it has none. */
  numberFor(text: string, scope = 0): number {
    const known = this.#known(text, scope);
    if (known !== undefined) return known;
    const hash = this.#hash(text, scope);
    const found = this.#read(text, scope, hash);
    if (found !== undefined) return found;
    const number = this.#next++;
    this.#addNew(number, { scope, text, hash });
    return number;
  }

  #known(text: string, scope: number): number | undefined {
    return this.#cache.get(text, scope) ?? this.#newNumbers.get(text, scope);
  }

  #addNew(number: number, added: NewText): void {
    const { scope, text } = added;
    this.#new.push(added);
    this.#newNumbers.set(text, scope, number);
    const ofScope = this.#newOfScope.get(scope);
    if (ofScope) ofScope.push(number);
    else this.#newOfScope.set(scope, [number]);
    this.#newBytes += bytesOf(added);
  }

  #cacheNumber(text: string, scope: number, number: number): void {
    if (this.#cache.bytes > CACHE_BYTES) this.#cache.clear();
    this.#cache.set(text, scope, number);
  }

  /** Returns the number of a text in the database. */
  #read(text: string, scope: number, hash: number): number | undefined {
    for (const row of this.#statements.find(hash, scope)) {
      if (row.text !== text || this.#retired.has(row.id)) continue;
      this.#cacheNumber(text, scope, row.id);
      return row.id;
    }
    return undefined;
  }

  #newText(number: number): NewText | undefined {
    return this.#new[number - this.#firstNew];
  }

  /**
   * Returns the text of a number.
   *
   * @throws if the number is unknown or its text was erased
   */
  text(number: number): string {
    const text = this.#newText(number)?.text ?? this.#statements.text.get(number)?.text;
    if (typeof text !== 'string') throw new Error(`number ${number} has no text in the dictionary`);
    return text;
  }

  /**
   * Prepares {@link write}: drops the new texts that no row refers to, because their rows were erased, and renumbers the others
   * in the order of the index: by scope, then by hash. Otherwise each transaction would write most pages of the index.
   *
   * @param forEachNumber calls the visitor with each number that a row in the memtable refers to
   * @returns the new number of each of these numbers
   */
  arrange(forEachNumber: (visit: (number: number) => void) => void): Renumbering {
    const first = this.#firstNew;
    const all = this.#new;
    const numbers = new Uint32Array(all.length);
    forEachNumber((number) => {
      if (number >= first && all[number - first]) numbers[number - first] = 1; // retired texts have no rows
    });
    const scopes = [...this.#newOfScope].sort(([a], [b]) => a - b);
    this.#new = [];
    this.#newOfScope.clear();
    this.#newBytes = 0;
    for (const [i, text] of all.entries()) if (text && numbers[i] === 1) this.#newBytes += bytesOf(text);
    for (const [scope, ofScope] of scopes) {
      const referenced = ofScope.map((number) => number - first).filter((i) => numbers[i] === 1);
      const start = first + this.#new.length;
      const ordered = inOrderOfHashes(referenced, (i) => all[i]?.hash ?? 0);
      for (const [i, from] of ordered.entries()) {
        numbers[from] = start + i;
        this.#new.push(all[from]);
      }
      const arranged = ordered.map((_, i) => start + i);
      if (ordered.length > 0) this.#newOfScope.set(scope, arranged);
    }
    const renumbered = (number: number) => (number < first ? number : (numbers[number - first] as number));
    this.#newNumbers.renumber(renumbered);
    return renumbered;
  }

  /** Writes the new texts, after {@link arrange}. */
  *write(): Job<void> {
    yield* inTransactions(
      this.#transact,
      this.#unwritten(),
      ([number, { scope, text, hash }]) => {
        this.#statements.insert(number, scope, text, hash);
        return ENTRY_BYTES + 3 * text.length;
      },
      undefined,
      (written) => {
        for (const [number, { scope, text }] of written) {
          this.#cacheNumber(text, scope, number);
          this.#writtenTo = number + 1;
        }
      },
    );
    this.#dropNew();
  }

  *#unwritten(): Generator<[number: number, NewText]> {
    for (let number = this.#firstNew; number < this.#firstNew + this.#new.length; number++) {
      const found = this.#newText(number);
      if (found) yield [number, found];
    }
  }

  /** Returns the numbers of a scope whose texts are in the database, except retired ones. */
  numbersOf(scope: number): number[] {
    return this.#statements.ofScope.all(scope).flatMap(({ id }) => (this.#retired.has(id) ? [] : [id]));
  }

  /** Yields the numbers and texts of a scope, except retired ones. */
  *textsOf(scope: number): Generator<{ number: number; text: string }> {
    for (const { id, text } of this.#statements.textsOfScope.iterate(scope)) {
      if (!this.#retired.has(id)) yield { number: id, text };
    }
    for (const number of this.#newOfScope.get(scope) ?? []) {
      const text = number >= this.#writtenTo ? this.#newText(number)?.text : undefined;
      if (text !== undefined) yield { number, text };
    }
  }

  /** Returns whether a number's text is in the database. */
  isWritten(number: number): boolean {
    return number < this.#writtenTo || !this.#newText(number);
  }

  /** Makes texts unfindable, so that the next rows with these texts get new numbers. Call {@link blank} afterwards. */
  retire(numbers: Iterable<number>): void {
    for (const number of numbers) {
      if (this.isWritten(number)) this.#retired.add(number);
      const unwritten = this.#newText(number);
      if (!unwritten) continue;
      this.#newNumbers.delete(unwritten.text, unwritten.scope);
      this.#new[number - this.#firstNew] = undefined;
    }
    this.#cache.clear();
  }

  /** Overwrites the texts of retired numbers in the database. */
  *blank(numbers: readonly number[]): Job<void> {
    yield* inTransactions(
      this.#transact,
      numbers,
      (number) => {
        this.#statements.blank.run(number);
        return 2 * ENTRY_BYTES;
      },
      undefined,
      (done) => {
        for (const number of done) this.#retired.delete(number);
      },
    );
  }
}

/** Returns the approximate size of a new text, in bytes. */
function bytesOf({ text }: NewText): number {
  return ENTRY_BYTES + 2 * text.length;
}

/** Returns items in the order of their hashes, approximately. */
function inOrderOfHashes(items: readonly number[], hashOf: (item: number) => number): number[] {
  const range = 2 ** Math.ceil(Math.log2(items.length + 1));
  // the upper bits of the hash, which has 53, and the index: typed arrays are sorted fastest as they are
  const keys = Float64Array.from(items, (item, i) => Math.floor(hashOf(item) / range) * range + i);
  return Array.from(keys.sort(), (key) => items[key % range] as number);
}

function prepare(client: Database, table: 'users' | 'labels') {
  const column = table === 'users' ? 'user_id' : 'label';
  const scope = table === 'users' ? '0' : 'series_id';
  const findUser = client.prepare<Found, [number]>('SELECT id, user_id AS text FROM users WHERE hash = ?');
  const findLabel = client.prepare<Found, [number, number]>(
    'SELECT id, label AS text FROM labels WHERE series_id = ? AND hash = ?',
  );
  const insertUser = client.prepare('INSERT INTO users (id, user_id, hash) VALUES (?, ?, ?)');
  const insertLabel = client.prepare('INSERT INTO labels (id, series_id, label, hash) VALUES (?, ?, ?, ?)');
  return {
    last: client.prepare<{ last: number | null }, []>(`SELECT max(id) AS last FROM ${table}`),
    find: (hash: number, series: number) => (table === 'users' ? findUser.all(hash) : findLabel.all(series, hash)),
    text: client.prepare<{ text: string | null }, [number]>(`SELECT ${column} AS text FROM ${table} WHERE id = ?`),
    ofScope: client.prepare<{ id: number }, [number]>(
      `SELECT id FROM ${table} WHERE ${scope} = ? AND ${column} IS NOT NULL`,
    ),
    textsOfScope: client.prepare<{ id: number; text: string }, [number]>(
      `SELECT id, ${column} AS text FROM ${table} WHERE ${scope} = ? AND ${column} IS NOT NULL`,
    ),
    insert(id: number, series: number, text: string, hash: number) {
      if (table === 'users') insertUser.run(id, text, hash);
      else insertLabel.run(id, series, text, hash);
    },
    blank: client.prepare(`UPDATE ${table} SET ${column} = NULL, hash = NULL WHERE id = ?`),
  };
}
