import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';
import type { TextHash } from '../text-hash.ts';

/** Size of the cache of texts, for users and for labels each, in bytes. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** Estimated size of a cache entry excluding its text, in bytes. */
const ENTRY_BYTES = 80;

/** A text that has a number but is not in the database yet. */
interface NewText {
  readonly scope: number;
  readonly text: string;
}

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
  /** Cached numbers of written texts, by scope and text. */
  readonly #cache = new Map<number, Map<string, number>>();
  #cachedBytes = 0;
  /** Texts that are not in the database yet, by number. */
  readonly #new = new Map<number, NewText>();
  /** Numbers of the texts in `#new`, by scope and text. */
  readonly #newNumbers = new Map<number, Map<string, number>>();
  #newBytes = 0;
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
    this.#cachedBytes = 0;
    this.#new.clear();
    this.#newNumbers.clear();
    this.#newBytes = 0;
    this.#retired.clear();
    this.#next = (this.#statements.last.get()?.last ?? 0) + 1;
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
    const cached = this.#cache.get(scope)?.get(text) ?? this.#newNumbers.get(scope)?.get(text);
    if (cached !== undefined) return cached;
    for (const row of this.#statements.find.all(this.#hash(text, scope))) {
      if (row.text !== text || row.scope !== scope || this.#retired.has(row.id)) continue;
      this.#add(text, scope, row.id);
      return row.id;
    }
    return undefined;
  }

  /** Returns the number of a text. Assigns a new number if it has none. */
  numberFor(text: string, scope = 0): number {
    const found = this.find(text, scope);
    if (found !== undefined) return found;
    const number = this.#next++;
    this.#new.set(number, { scope, text });
    entriesOf(this.#newNumbers, scope).set(text, number);
    this.#newBytes += ENTRY_BYTES + 2 * text.length;
    return number;
  }

  /**
   * Returns the text of a number.
   *
   * @throws if the number is unknown or its text was erased
   */
  text(number: number): string {
    const text = this.#new.get(number)?.text ?? this.#statements.text.get(number)?.text;
    if (typeof text !== 'string') throw new Error(`number ${number} has no text in the dictionary`);
    return text;
  }

  #add(text: string, scope: number, number: number): void {
    const bytes = ENTRY_BYTES + 2 * text.length;
    if (this.#cachedBytes + bytes > CACHE_BYTES) {
      this.#cache.clear();
      this.#cachedBytes = 0;
    }
    this.#cachedBytes += bytes;
    entriesOf(this.#cache, scope).set(text, number);
  }

  /**
   * Writes the new texts that rows still refer to, and drops the others, whose rows were erased.
   *
   * @param isReferenced whether a row in the memtable refers to the number
   */
  *write(isReferenced: (number: number) => boolean): Job<void> {
    for (const [number, { scope, text }] of this.#new) {
      if (isReferenced(number)) continue;
      this.#new.delete(number);
      this.#newNumbers.get(scope)?.delete(text);
    }
    yield* inTransactions(
      this.#transact,
      [...this.#new],
      ([number, { scope, text }]) => {
        this.#statements.insert(number, scope, text, this.#hash(text, scope));
        return ENTRY_BYTES + 3 * text.length;
      },
      undefined,
      (written) => {
        for (const [number, { scope, text }] of written) {
          this.#new.delete(number);
          this.#newNumbers.get(scope)?.delete(text);
          this.#add(text, scope, number);
        }
      },
    );
    this.#newNumbers.clear();
    this.#newBytes = 0;
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
    for (const [text, number] of this.#newNumbers.get(scope) ?? []) yield { number, text };
  }

  /** Returns whether a number's text is in the database. */
  isWritten(number: number): boolean {
    return !this.#new.has(number);
  }

  /** Makes texts unfindable, so that the next rows with these texts get new numbers. Call {@link blank} afterwards. */
  retire(numbers: Iterable<number>): void {
    for (const number of numbers) {
      const unwritten = this.#new.get(number);
      if (unwritten) {
        this.#new.delete(number);
        this.#newNumbers.get(unwritten.scope)?.delete(unwritten.text);
      } else {
        this.#retired.add(number);
      }
    }
    this.#cache.clear();
    this.#cachedBytes = 0;
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

function entriesOf(scopes: Map<number, Map<string, number>>, scope: number): Map<string, number> {
  let entries = scopes.get(scope);
  if (!entries) {
    entries = new Map();
    scopes.set(scope, entries);
  }
  return entries;
}

function prepare(client: Database, table: 'users' | 'labels') {
  const column = table === 'users' ? 'user_id' : 'label';
  const scope = table === 'users' ? '0' : 'series_id';
  const insertUser = client.prepare('INSERT INTO users (id, user_id, hash) VALUES (?, ?, ?)');
  const insertLabel = client.prepare('INSERT INTO labels (id, series_id, label, hash) VALUES (?, ?, ?, ?)');
  return {
    last: client.prepare<{ last: number | null }, []>(`SELECT max(id) AS last FROM ${table}`),
    find: client.prepare<{ id: number; scope: number; text: string | null }, [number]>(
      `SELECT id, ${scope} AS scope, ${column} AS text FROM ${table} WHERE hash = ?`,
    ),
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
