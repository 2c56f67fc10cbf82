import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { KINDS, type Kind } from '../../records.ts';
import { inTransactions, type Job, type Transact } from '../job.ts';
import { StorageError } from '../storage-error.ts';
import { checksumOfBlobs } from './checksum.ts';
import { decodeSeqs, encodeSeqs } from './seq-codec.ts';
import {
  decodePart,
  encodePart,
  mergeEntries,
  type PartBlobs,
  seqsInPart,
  sortByUser,
  type UserEntries,
} from './user-part.ts';

/** Number of shards per kind. A shard contains the users whose number has the same remainder. */
export const SHARDS = 256;
/** Number of rows in the runs of a kind from which they are sorted into the shards. */
export const MAX_UNSORTED_ROWS = 524_288;
/** Maximum number of rows in a run that was merged from smaller ones. */
const MAX_MERGED_RUN_ROWS = 65_536;
/** Maximum number of rows in a part of a shard: about 700 KB. */
const MAX_PART_ROWS = 131_072;
/** Size of the cache of runs, in bytes. */
const CACHE_BYTES = 8 * 1024 * 1024;
/** Bytes per row of a run, at most, apart from rare large differences. */
const RUN_ROW_BYTES = 8;

/** A stored part or run. `shard` is negative for a run. */
interface StoredEntries extends PartBlobs {
  readonly id: number;
  readonly shard: number;
  readonly rows: number;
}

/** Returns whether an entry of the index is to be removed. */
export type EntryTest = (user: number, seq: number) => boolean;

/** Visits rows in commit order, per kind. */
export type RowVisitor = (kind: Kind, user: number, seq: number) => void;

/**
 * An index that lists the rows of each user by their keys: user and `seq`. It contains every row of the row tables up to
 * {@link indexedTo}, and is written when rows are sealed.
 *
 * The rows of a sealed memtable are first stored in commit order, as a *run* per kind. When the runs have half a million
 * rows, they are sorted into the *parts* of 256 shards, in which the rows of one user are read without the others. A new
 * part is merged with the last ones of its shard while they are of similar size, like chunks. `column_state` stores the
 * `seq` up to which the rows are indexed, and how many shards already contain the rows of the runs; so an interruption
 * after any transaction neither loses rows nor lists them twice.
 *
 * A deletion that is interrupted can leave entries of rows that are blank. Readers skip them.
 */
export class UserRows {
  readonly #transact: Transact;
  readonly #maxUnsortedRows: number;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #runs = new LRUCache<number, StoredEntries>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ users, seqs }) => users.byteLength + seqs.byteLength,
  });
  readonly #indexedTo: Record<Kind, number> = { metric: 0, analytics: 0 };
  /** The number of shards that already contain the rows of the runs. */
  readonly #sortedShards: Record<Kind, number> = { metric: 0, analytics: 0 };
  /** The rows that are being sorted into shards. Users whose rows are removed meanwhile are set to 0. */
  #sorting: (UserEntries & { readonly kind: Kind }) | undefined;
  #version = 0;

  /** @param maxUnsortedRows see {@link MAX_UNSORTED_ROWS} */
  constructor(client: Database, transact: Transact, maxUnsortedRows: number) {
    this.#transact = transact;
    this.#maxUnsortedRows = maxUnsortedRows;
    this.#statements = prepare(client);
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#runs.clear();
    this.#sorting = undefined;
    this.#version++;
    const state = new Map(this.#statements.state.all().map(({ name, value }) => [name, value]));
    for (const kind of KINDS) {
      this.#indexedTo[kind] = state.get(indexedName(kind)) ?? 0;
      this.#sortedShards[kind] = state.get(sortedName(kind)) ?? 0;
    }
  }

  /** Changes whenever rows are indexed or removed. */
  get version(): number {
    return this.#version;
  }

  /** Returns the `seq` up to which all rows of a kind are indexed. */
  indexedTo(kind: Kind): number {
    return this.#indexedTo[kind];
  }

  /**
   * Indexes rows, except those that are already indexed.
   *
   * @param forEachRow calls the visitor for each row, in commit order per kind
   * @param positions all rows up to these `seq`s are then indexed
   */
  *write(forEachRow: (visit: RowVisitor) => void, positions: Readonly<Record<Kind, number>>): Job<void> {
    for (const kind of KINDS) {
      const rows = this.#statements.ofShard.all(runsOf(kind)).reduce((sum, run) => sum + run.rows, 0);
      if (rows >= this.#maxUnsortedRows || this.#sortedShards[kind] > 0) yield* this.#sort(kind);
    }
    const added = { metric: new Entries(), analytics: new Entries() };
    forEachRow((kind, user, seq) => {
      if (seq > this.#indexedTo[kind]) added[kind].push(user, seq);
    });
    this.#transact(() => {
      for (const kind of KINDS) {
        this.#addRun(kind, added[kind].take());
        this.#indexedTo[kind] = Math.max(this.#indexedTo[kind], positions[kind]);
        this.#statements.setState.run(indexedName(kind), this.#indexedTo[kind]);
      }
    });
    this.#version++;
    yield;
  }

  /** Stores rows as a run, together with the last runs if those are small. */
  #addRun(kind: Kind, added: UserEntries): void {
    let entries = added;
    if (entries.users.length === 0) return;
    for (const { id, rows } of this.#statements.ofShard.all(runsOf(kind)).reverse()) {
      const total = rows + entries.users.length;
      if (rows > 2 * entries.users.length || total > MAX_MERGED_RUN_ROWS) break;
      entries = concat(decodeRun(this.#read(id)), entries);
      this.#blank(id);
    }
    this.#insert(runsOf(kind), entries.users.length, encodeRun(entries));
  }

  /** Sorts the rows of the runs into the shards. */
  *#sort(kind: Kind): Job<void> {
    const ids = this.#statements.ofShard.all(runsOf(kind)).map(({ id }) => id);
    let entries: UserEntries = { users: new Uint32Array(0), seqs: new Float64Array(0) };
    const runs: UserEntries[] = [];
    for (const id of ids) runs.push(decodeRun(this.#read(id)));
    entries = concat(...runs);
    const sorting = { ...entries, kind };
    this.#sorting = sorting;
    const rowsByShard = groupByShard(entries.users);
    yield;
    const first = this.#sortedShards[kind];
    yield* inTransactions(
      this.#transact,
      Array.from({ length: SHARDS - first }, (_, i) => first + i),
      (number) => this.#addPart(shardOf(kind, number), rowsOf(sorting, rowsByShard[number] as Uint32Array)),
      (done, isLast) => {
        if (isLast) for (const id of ids) this.#blank(id);
        this.#sortedShards[kind] = isLast ? 0 : (done.at(-1) as number) + 1;
        this.#statements.setState.run(sortedName(kind), this.#sortedShards[kind]);
      },
    );
    this.#sorting = undefined;
  }

  /**
   * Adds rows to a shard as a new part. Merges it with the last parts while they are of similar size. Returns the
   * approximate number of bytes written.
   */
  #addPart(shard: number, added: UserEntries): number {
    if (added.users.length === 0) return 0;
    let entries = sortByUser(added);
    for (const { id, rows } of this.#statements.ofShard.all(shard).reverse()) {
      if (rows > 2 * entries.users.length || rows + entries.users.length > MAX_PART_ROWS) break;
      entries = mergeEntries(decodePart(this.#read(id)), entries);
      this.#blank(id);
    }
    return this.#insert(shard, entries.users.length, encodePart(entries));
  }

  #insert(shard: number, rows: number, blobs: PartBlobs): number {
    this.#statements.insert.run(shard, rows, checksumOfBlobs([blobs.users, blobs.seqs]), blobs.users, blobs.seqs);
    return blobs.users.byteLength + blobs.seqs.byteLength + 100;
  }

  /** Overwrites a part or a run in place with an empty one. */
  #blank(id: number): void {
    this.#statements.blank.run(id);
    this.#runs.delete(id);
  }

  /**
   * Reads a part or a run.
   *
   * @throws {StorageError} `corrupt` if its checksum does not match
   */
  #read(id: number): StoredEntries {
    const cached = this.#runs.get(id);
    if (cached) return cached;
    const row = this.#statements.read.get(id);
    if (!row) throw new Error(`part ${id} of the rows of users does not exist`);
    if (checksumOfBlobs([row.users, row.seqs]) !== row.checksum) {
      throw new StorageError('corrupt', new Error(`the checksum of part ${id} of the rows of users does not match`));
    }
    const entries = { id, shard: row.shard, rows: row.rows, users: row.users, seqs: row.seqs };
    if (row.shard < 0) this.#runs.set(id, entries);
    return entries;
  }

  /** Returns the keys of the parts and runs of a shard, in commit order. */
  #idsOf(kind: Kind, shardNumber: number): number[] {
    const { ofShard } = this.#statements;
    const runs = shardNumber < this.#sortedShards[kind] ? [] : ofShard.all(runsOf(kind));
    return [...ofShard.all(shardOf(kind, shardNumber)), ...runs].map(({ id }) => id);
  }

  /** Returns the `seq` of each indexed row of a user, ascending. Some rows may be blank. */
  seqsOf(kind: Kind, user: number): Float64Array {
    const found = this.#idsOf(kind, user % SHARDS).map((id) => {
      const entries = this.#read(id);
      return entries.shard < 0 ? seqsInRun(entries, user) : seqsInPart(entries, user);
    });
    const seqs = new Float64Array(found.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of found) {
      seqs.set(part, at);
      at += part.length;
    }
    return seqs;
  }

  /** Removes all rows of a user. */
  *removeUser(user: number): Job<void> {
    for (const kind of KINDS) yield* this.#remove(kind, [user % SHARDS], (rowUser) => rowUser === user);
  }

  /**
   * Removes rows.
   *
   * @param users the users of the rows
   */
  *remove(kind: Kind, users: Iterable<number>, isRemoved: EntryTest): Job<void> {
    yield* this.#remove(kind, [...new Set(Array.from(users, (user) => user % SHARDS))], isRemoved);
  }

  *#remove(kind: Kind, shardNumbers: readonly number[], isRemoved: EntryTest): Job<void> {
    if (this.#sorting?.kind === kind) {
      const { users, seqs } = this.#sorting;
      for (let i = 0; i < users.length; i++) if (isRemoved(users[i] as number, seqs[i] as number)) users[i] = 0;
    }
    this.#version++;
    const checked = new Set<number>();
    // listed again after each step, because rows are indexed, merged and sorted between the steps
    const next = (shard: number) => this.#statements.ofShard.all(shard).find(({ id }) => !checked.has(id));
    for (const shard of [runsOf(kind), ...shardNumbers.map((number) => shardOf(kind, number))]) {
      for (let entry = next(shard); entry; entry = next(shard)) {
        checked.add(entry.id);
        if (this.#rewrite(entry.id, isRemoved)) yield;
      }
    }
    this.#version++;
  }

  /** Overwrites a part or a run in place without some of its rows. Returns whether it had any of them. */
  #rewrite(id: number, isRemoved: EntryTest): boolean {
    const stored = this.#read(id);
    const { users, seqs } = stored.shard < 0 ? decodeRun(stored) : decodePart(stored);
    const kept = new Entries();
    for (let i = 0; i < users.length; i++) {
      const [user, seq] = [users[i] as number, seqs[i] as number];
      if (!isRemoved(user, seq)) kept.push(user, seq);
    }
    const entries = kept.take();
    const rows = entries.users.length;
    if (rows === users.length) return false;
    const blobs = stored.shard < 0 ? encodeRun(entries) : encodePart(entries);
    this.#transact(() => {
      if (rows === 0) this.#blank(id);
      else {
        const checksum = checksumOfBlobs([blobs.users, blobs.seqs]);
        this.#statements.replace.run(rows, checksum, blobs.users, blobs.seqs, id);
      }
    });
    this.#runs.delete(id);
    return true;
  }

  /** Removes everything. {@link reset} then completes this. */
  *clear(): Job<void> {
    for (let ids = this.#statements.some.all(); ids.length > 0; ids = this.#statements.some.all()) {
      yield* inTransactions(this.#transact, ids, ({ id, rows }) => {
        this.#blank(id);
        return RUN_ROW_BYTES * rows;
      });
    }
  }

  /** Records, in the caller's transaction, that no rows are indexed. */
  reset(): void {
    for (const kind of KINDS) {
      this.#statements.setState.run(indexedName(kind), 0);
      this.#statements.setState.run(sortedName(kind), 0);
    }
  }
}

/** Names in `column_state`. */
const indexedName = (kind: Kind) => `user_rows_${kind}`;
const sortedName = (kind: Kind) => `user_rows_sorted_${kind}`;

/** Returns the `shard` of the runs of a kind. */
function runsOf(kind: Kind): number {
  return -1 - KINDS.indexOf(kind);
}

/** Returns the `shard` of the parts with a number from 0 to 255. */
function shardOf(kind: Kind, number: number): number {
  return KINDS.indexOf(kind) * SHARDS + number;
}

/** Rows that are collected one by one. */
class Entries {
  #users = new Uint32Array(1024);
  #seqs = new Float64Array(1024);
  #rows = 0;

  push(user: number, seq: number): void {
    if (this.#rows === this.#users.length) {
      const [users, seqs] = [new Uint32Array(2 * this.#rows), new Float64Array(2 * this.#rows)];
      users.set(this.#users);
      seqs.set(this.#seqs);
      [this.#users, this.#seqs] = [users, seqs];
    }
    this.#users[this.#rows] = user;
    this.#seqs[this.#rows++] = seq;
  }

  take(): UserEntries {
    return { users: this.#users.subarray(0, this.#rows), seqs: this.#seqs.subarray(0, this.#rows) };
  }
}

function concat(...parts: readonly UserEntries[]): UserEntries {
  const rows = parts.reduce((sum, { users }) => sum + users.length, 0);
  const all = { users: new Uint32Array(rows), seqs: new Float64Array(rows) };
  let at = 0;
  for (const { users, seqs } of parts) {
    all.users.set(users, at);
    all.seqs.set(seqs, at);
    at += users.length;
  }
  return all;
}

/** Returns the rows of each shard, by their index. */
function groupByShard(users: Uint32Array): Uint32Array[] {
  const ends = new Uint32Array(SHARDS);
  for (let i = 0; i < users.length; i++) (ends[(users[i] as number) % SHARDS] as number)++;
  const starts = new Uint32Array(SHARDS);
  for (let shard = 1; shard < SHARDS; shard++) {
    starts[shard] = ends[shard - 1] as number;
    (ends[shard] as number) += starts[shard] as number;
  }
  const next = starts.slice();
  const rows = new Uint32Array(users.length);
  for (let i = 0; i < users.length; i++) {
    const shard = (users[i] as number) % SHARDS;
    rows[next[shard] as number] = i;
    (next[shard] as number)++;
  }
  return Array.from(starts, (start, shard) => rows.subarray(start, ends[shard]));
}

/** Returns some rows, given their indexes, without those of user 0. */
function rowsOf({ users, seqs }: UserEntries, rows: Uint32Array): UserEntries {
  const present = rows.filter((row) => users[row] !== 0);
  return {
    users: Uint32Array.from(present, (row) => users[row] as number),
    seqs: Float64Array.from(present, (row) => seqs[row] as number),
  };
}

/** Encodes a run: the users as 16-bit or, if one does not fit, 32-bit numbers, and the `seq`s as those of chunks. */
function encodeRun({ users, seqs }: UserEntries): PartBlobs {
  const isNarrow = users.every((user) => user < 2 ** 16);
  const numbers = isNarrow ? Uint16Array.from(users) : users;
  return { users: new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), seqs: encodeSeqs(seqs) };
}

function usersOfRun({ users, rows }: StoredEntries): Uint16Array | Uint32Array {
  const { buffer } = users.slice(); // copied, because wider numbers must be aligned
  return users.byteLength === 2 * rows ? new Uint16Array(buffer) : new Uint32Array(buffer);
}

function decodeRun(stored: StoredEntries): UserEntries {
  return { users: Uint32Array.from(usersOfRun(stored)), seqs: decodeSeqs(stored.seqs, stored.rows) };
}

function seqsInRun(stored: StoredEntries, user: number): Float64Array {
  const users = usersOfRun(stored);
  const rows: number[] = [];
  for (let row = users.indexOf(user); row >= 0; row = users.indexOf(user, row + 1)) rows.push(row);
  if (rows.length === 0) return new Float64Array(0);
  const seqs = decodeSeqs(stored.seqs, stored.rows);
  return Float64Array.from(rows, (row) => seqs[row] as number);
}

function prepare(client: Database) {
  return {
    state: client.prepare<{ name: string; value: number }, []>(
      "SELECT name, value FROM column_state WHERE name LIKE 'user_rows%'",
    ),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    ofShard: client.prepare<{ id: number; rows: number }, [number]>(
      'SELECT id, rows FROM user_rows WHERE shard = ? AND rows > 0 ORDER BY id',
    ),
    some: client.prepare<{ id: number; rows: number }, []>('SELECT id, rows FROM user_rows WHERE rows > 0 LIMIT 1000'),
    read: client.prepare<StoredEntries & { checksum: number }, [number]>(
      'SELECT id, shard, rows, checksum, users, seqs FROM user_rows WHERE id = ?',
    ),
    insert: client.prepare('INSERT INTO user_rows (shard, rows, checksum, users, seqs) VALUES (?, ?, ?, ?, ?)'),
    replace: client.prepare('UPDATE user_rows SET rows = ?, checksum = ?, users = ?, seqs = ? WHERE id = ?'),
    blank: client.prepare(
      "UPDATE user_rows SET shard = 0, rows = 0, checksum = 0, users = x'', seqs = x'' WHERE id = ?",
    ),
  };
}
