import type { Database } from 'bun:sqlite';
import { inTransactions, type Job, type Transact } from '../job.ts';
import type { TextHash } from '../text-hash.ts';

/** Texts whose numbers are kept in memory, for users and for labels each, in bytes. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** What an entry of the cache takes beside its text, in bytes, about. */
const ENTRY_BYTES = 80;

/** A text that has a number, but is not in the database yet. */
interface NewText {
  readonly scope: number;
  readonly text: string;
}

/**
 * Numbers for texts: a table of the database, and what is not written to it yet. Numbers are given once and
 * never again, also after their text was erased.
 *
 * Texts belong to a scope: labels to their series, users to scope 0. A text is found by its hash, since an index
 * of texts would leave copies behind where its pages split.
 */
export class Dictionary {
  readonly #transact: Transact;
  readonly #hash: TextHash;
  /** Numbers by scope and text: those that are looked up again and again. */
  readonly #cache = new Map<number, Map<string, number>>();
  #cachedBytes = 0;
  /** Texts that are not in the database yet, by number, and their numbers by scope and text. */
  readonly #new = new Map<number, NewText>();
  readonly #newNumbers = new Map<number, Map<string, number>>();
  #newBytes = 0;
  /** Numbers that are being erased: their texts are not found any more, though still in the database. */
  readonly #retired = new Set<number>();
  #next = 1;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(client: Database, table: 'users' | 'labels', transact: Transact, hash: TextHash) {
    this.#transact = transact;
    this.#hash = hash;
    this.#statements = prepare(client, table);
    this.reload();
  }

  /** Drops everything that is in memory only. */
  reload(): void {
    this.#cache.clear();
    this.#cachedBytes = 0;
    this.#new.clear();
    this.#newNumbers.clear();
    this.#newBytes = 0;
    this.#retired.clear();
    this.#next = (this.#statements.last.get()?.last ?? 0) + 1;
  }

  /** One more than the largest number. */
  get limit(): number {
    return this.#next;
  }

  /** Bytes of the texts that are not in the database yet, about. */
  get newBytes(): number {
    return this.#newBytes;
  }

  /** Returns the number of a text; undefined if it has none. */
  find(text: string, scope = 0): number | undefined {
    const near = this.#cache.get(scope)?.get(text) ?? this.#newNumbers.get(scope)?.get(text);
    if (near !== undefined) return near;
    for (const row of this.#statements.find.all(this.#hash(text, scope))) {
      if (row.text !== text || row.scope !== scope || this.#retired.has(row.id)) continue;
      this.#add(text, scope, row.id);
      return row.id;
    }
    return undefined;
  }

  /** Returns the number of a text; a new one if it has none. */
  numberFor(text: string, scope = 0): number {
    const found = this.find(text, scope);
    if (found !== undefined) return found;
    const number = this.#next++;
    this.#new.set(number, { scope, text });
    entriesOf(this.#newNumbers, scope).set(text, number);
    this.#newBytes += ENTRY_BYTES + 2 * text.length;
    return number;
  }

  /** @throws if no text has the number, or none any more */
  text(number: number): string {
    const text = this.#new.get(number)?.text ?? this.#statements.text.get(number)?.text;
    if (typeof text !== 'string') throw new Error(`no text has the number ${number}`);
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
   * Writes the new texts that rows refer to. The others are dropped: the rows that brought them are gone.
   *
   * @param isReferenced whether some row in the memtable has the number
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

  /** The numbers of a scope that are in the database and have a text. */
  numbersOf(scope: number): number[] {
    return this.#statements.ofScope.all(scope).flatMap(({ id }) => (this.#retired.has(id) ? [] : [id]));
  }

  /** Whether a number's text is in the database. */
  isWritten(number: number): boolean {
    return !this.#new.has(number);
  }

  /** Makes texts unfindable at once: the next rows with these texts get new numbers. {@link blank} follows. */
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
    insert(id: number, series: number, text: string, hash: number) {
      if (table === 'users') insertUser.run(id, text, hash);
      else insertLabel.run(id, series, text, hash);
    },
    blank: client.prepare(`UPDATE ${table} SET ${column} = NULL, hash = NULL WHERE id = ?`),
  };
}
