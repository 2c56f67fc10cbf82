import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { KINDS, type Kind } from '../../records.ts';
import { inTransactions, type Job, type Transact } from '../job.ts';
import { StorageError } from '../storage-error.ts';
import { checksumOfBlobs, isChecksumOf } from './checksum.ts';
import type { RemovedKeys } from './removed-keys.ts';
import {
  decodePart,
  encodePart,
  mergeEntries,
  overwriteUserInPart,
  type PartBlobs,
  type SortedEntries,
  seqsInPart,
  sortByShard,
  type UserEntries,
} from './user-part.ts';
import { encodeRun, overwriteUserInRun, UserRun } from './user-run.ts';

/** Number of shards per kind. A shard contains the users whose number has the same remainder. */
export const SHARDS = 256;
/** Number of rows in the runs of a kind from which they are sorted into the shards. */
export const MAX_UNSORTED_ROWS = 262_144;
/** Maximum number of rows in a run that was merged from smaller ones. */
const MAX_MERGED_RUN_ROWS = 65_536;
/** Number of parts of similar size with which a new one is merged. */
const MERGED_PARTS = 7;
/** Maximum number of rows in a part of a shard: about 1.4 MB. */
const MAX_PART_ROWS = 262_144;
/** Size of the cache of runs, in bytes. */
const CACHE_BYTES = 10 * 1024 * 1024;
/** Time after which a step ends, in milliseconds. */
const STEP_MS = 10;
/** Estimated bytes per row of a part or a run. */
const ROW_BYTES = 8;
/** Estimated bytes of parts that are written in one transaction. */
const MAX_SORTED_BYTES = 1024 * 1024;

/** The key of a part or a run, and its number of rows. */
interface PartEntry {
  readonly id: number;
  readonly rows: number;
}

/** A new part of a shard, and the parts that it replaces. */
interface PartWrite {
  readonly shard: number;
  readonly merged: readonly number[];
  readonly rows: number;
  readonly blobs: PartBlobs;
}

/** Returns whether an entry of the index is to be removed. */
export type EntryTest = (user: number, seq: number) => boolean;

/** Visits rows in commit order, per kind. */
export type RowVisitor = (kind: Kind, user: number, seq: number) => void;

/**
 * An index that lists the rows of each user by their keys: user and `seq`. It contains every row of the row tables up to
 * {@link indexedTo}, and is written when rows are sealed.
 *
 * The rows of a sealed memtable are first stored in commit order, as a *run* per kind. When the runs have a quarter of a million
 * rows, they are sorted into the *parts* of 256 shards, in which the rows of one user are read without the others. Every
 * eight parts of a shard that are of similar size are merged, so that each row is rewritten about log₈(rows) times.
 * `column_state` stores the `seq` up to which the rows are indexed, and how many shards already contain the rows of the
 * runs, so that an interruption after any transaction neither loses rows nor lists them twice.
 *
 * A deletion that is interrupted can leave entries of rows that are blank. Readers skip them.
 */
export class UserRows {
  readonly #transact: Transact;
  readonly #maxUnsortedRows: number;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #runs = new LRUCache<number, UserRun>({ maxSize: CACHE_BYTES, sizeCalculation: ({ bytes }) => bytes });
  readonly #indexedTo: Record<Kind, number> = { metric: 0, analytics: 0 };
  /** The number of shards that already contain the rows of the runs. */
  readonly #sortedShards: Record<Kind, number> = { metric: 0, analytics: 0 };
  /** The rows that are being sorted into shards. Users whose rows are removed meanwhile are set to 0. */
  #sorting: (SortedEntries & { readonly kind: Kind }) | undefined;
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
    let rows = 0;
    forEachRow(() => rows++);
    const added = { metric: new Entries(rows), analytics: new Entries(rows) };
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
    if (added.users.length === 0) return;
    const absorbed: number[] = [];
    let total = added.users.length;
    for (const { id, rows } of this.#statements.ofShard.all(runsOf(kind)).reverse()) {
      if (rows > 2 * total || rows + total > MAX_MERGED_RUN_ROWS) break;
      absorbed.unshift(id);
      total += rows;
    }
    const entries = this.#decodeRuns(absorbed, added);
    for (const id of absorbed) this.#blank(id);
    this.#insert(runsOf(kind), total, encodeRun(entries));
  }

  /** Returns the rows of several runs, also those of user 0, followed by others. */
  #decodeRuns(ids: readonly number[], added: UserEntries = NO_ENTRIES): UserEntries {
    if (ids.length === 0) return added;
    const runs = ids.map((id) => this.#readRun(id));
    const rows = runs.reduce((sum, run) => sum + run.rows, 0);
    const total = rows + added.users.length;
    const entries = { users: new Uint32Array(total), seqs: new Float64Array(total) };
    let at = 0;
    for (const run of runs) {
      run.copyTo(entries, at);
      at += run.rows;
    }
    entries.users.set(added.users, at);
    entries.seqs.set(added.seqs, at);
    return entries;
  }

  /** Sorts the rows of the runs into the shards. */
  *#sort(kind: Kind): Job<void> {
    const ids = this.#statements.ofShard.all(runsOf(kind)).map(({ id }) => id);
    const unsorted = this.#decodeRuns(ids);
    yield;
    const sorting = { ...sortByShard(unsorted, SHARDS), kind };
    this.#sorting = sorting;
    for (let number = this.#sortedShards[kind]; number < SHARDS; ) {
      const writes: PartWrite[] = [];
      const deadline = performance.now() + STEP_MS;
      let bytes = 0;
      do {
        const write = this.#preparePart(shardOf(kind, number), withoutRemoved(sorting, number));
        bytes += ROW_BYTES * write.rows;
        writes.push(write);
        number++;
      } while (number < SHARDS && bytes < MAX_SORTED_BYTES && performance.now() < deadline);
      const isLast = number === SHARDS;
      this.#transact(() => {
        for (const { merged, rows, shard, blobs } of writes) {
          for (const id of merged) this.#blank(id);
          if (rows > 0) this.#insert(shard, rows, blobs);
        }
        if (isLast) for (const id of ids) this.#blank(id);
        this.#sortedShards[kind] = isLast ? 0 : number;
        this.#statements.setState.run(sortedName(kind), this.#sortedShards[kind]);
      });
      yield;
    }
    this.#sorting = undefined;
  }

  /**
   * Prepares a new part of a shard, merged with the last parts once several have a similar size.
   *
   * @param added rows sorted by user
   */
  #preparePart(shard: number, added: UserEntries): PartWrite {
    let entries = added;
    const merged: number[] = [];
    if (added.users.length === 0) return { shard, merged, rows: 0, blobs: encodePart(added) };
    const parts = this.#statements.ofShard.all(shard);
    for (;;) {
      const similar = parts.slice(parts.findLastIndex(({ rows }) => rows > 2 * entries.users.length) + 1);
      const total = similar.reduce((sum, { rows }) => sum + rows, entries.users.length);
      if (similar.length < MERGED_PARTS || total > MAX_PART_ROWS) break;
      entries = mergeEntries([...similar.map(({ id }) => decodePart(this.#read(id))), entries]);
      merged.push(...similar.map(({ id }) => id));
      parts.length -= similar.length;
    }
    return { shard, merged, rows: entries.users.length, blobs: encodePart(entries) };
  }

  #insert(shard: number, rows: number, blobs: PartBlobs): void {
    this.#statements.insert.run(shard, rows, checksumOfBlobs([blobs.users, blobs.seqs]), blobs.users, blobs.seqs);
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
  #read(id: number): PartBlobs & PartEntry {
    const row = this.#statements.read.get(id);
    if (!row) throw new Error(`part ${id} of the rows of users does not exist`);
    if (!isChecksumOf(row.checksum, [row.users, row.seqs])) {
      throw new StorageError('corrupt', new Error(`the checksum of part ${id} of the rows of users does not match`));
    }
    return row;
  }

  #readRun(id: number): UserRun {
    const cached = this.#runs.get(id);
    if (cached) return cached;
    const stored = this.#read(id);
    const run = new UserRun(stored, stored.rows);
    this.#runs.set(id, run);
    return run;
  }

  /** Returns the `seq` of each indexed row of a user, ascending. Some rows may be blank. */
  seqsOf(kind: Kind, user: number): Float64Array {
    const { ofShard } = this.#statements;
    const shardNumber = user % SHARDS;
    const runs = shardNumber < this.#sortedShards[kind] ? [] : ofShard.all(runsOf(kind));
    const found = [
      ...ofShard.all(shardOf(kind, shardNumber)).map(({ id }) => seqsInPart(this.#read(id), user)),
      ...runs.map(({ id }) => this.#readRun(id).seqsOf(user)),
    ];
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
    const overwrite = (shard: number, id: number) => this.#overwriteUser(shard, id, user);
    for (const kind of KINDS) yield* this.#remove(kind, [user % SHARDS], (rowUser) => rowUser === user, overwrite);
  }

  /** Overwrites the rows of a user in a part or a run in place. Returns whether it had any. */
  #overwriteUser(shard: number, id: number, user: number): boolean {
    const stored = this.#read(id);
    const users = shard < 0 ? overwriteUserInRun(stored, stored.rows, user) : stored.users;
    const removed = shard < 0 ? 0 : overwriteUserInPart(stored, user);
    if (!users || (shard >= 0 && removed === 0)) return false;
    const rows = stored.rows - removed;
    const checksum = checksumOfBlobs([users, stored.seqs]);
    this.#transact(() => {
      if (rows === 0) this.#blank(id);
      else this.#statements.replace.run(rows, checksum, users, stored.seqs, id);
    });
    this.#runs.delete(id);
    return true;
  }

  /** Removes rows of a kind. */
  *remove(kind: Kind, removed: RemovedKeys): Job<void> {
    const isRemoved = (_user: number, seq: number) => removed.has(seq);
    yield* this.#remove(kind, removed.shards, isRemoved, (shard, id) => this.#rewrite(shard, id, isRemoved));
  }

  /** @param rewrite removes the rows from a part or a run, and returns whether it had any */
  *#remove(
    kind: Kind,
    shardNumbers: Iterable<number>,
    isRemoved: EntryTest,
    rewrite: (shard: number, id: number) => boolean,
  ): Job<void> {
    if (this.#sorting?.kind === kind) {
      const { users, seqs } = this.#sorting;
      for (let i = 0; i < users.length; i++) if (isRemoved(users[i] as number, seqs[i] as number)) users[i] = 0;
    }
    this.#version++;
    const checked = new Set<number>();
    let startedAt = performance.now();
    // listed again after each step, because rows are indexed, merged and sorted between the steps
    const next = (shard: number) => this.#statements.ofShard.all(shard).find(({ id }) => !checked.has(id));
    for (const shard of [runsOf(kind), ...Array.from(shardNumbers, (number) => shardOf(kind, number))]) {
      for (let entry = next(shard); entry; entry = next(shard)) {
        checked.add(entry.id);
        const isRewritten = rewrite(shard, entry.id);
        if (!isRewritten && performance.now() - startedAt < STEP_MS) continue;
        yield;
        startedAt = performance.now();
      }
    }
    this.#version++;
  }

  /** Overwrites a part or a run in place without some of its rows. Returns whether it had any of them. */
  #rewrite(shard: number, id: number, isRemoved: EntryTest): boolean {
    const { users, seqs } = shard < 0 ? this.#decodeRuns([id]) : decodePart(this.#read(id));
    const kept = new Entries(users.length);
    for (let i = 0; i < users.length; i++) {
      const [user, seq] = [users[i] as number, seqs[i] as number];
      if (!isRemoved(user, seq)) kept.push(user, seq);
    }
    const entries = kept.take();
    const rows = entries.users.length;
    if (rows === users.length) return false;
    this.#transact(() => {
      if (rows === 0) this.#blank(id);
      else {
        const blobs = shard < 0 ? encodeRun(entries) : encodePart(entries);
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
        return ROW_BYTES * rows;
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

/** What the index contains, for verifications. */
export interface IndexContents {
  /** The `seq` up to which all rows of each kind are indexed. */
  readonly indexedTo: Readonly<Record<Kind, number>>;
  /** Yields the entries of each part and run; undefined if its checksum does not match. */
  readonly parts: () => Generator<{ id: number; kind: Kind; entries: UserEntries | undefined }>;
}

/** Reads the whole index. */
export function readUserRows(client: Database): IndexContents {
  const { state: readState, all, read } = prepare(client);
  const state = new Map(readState.all().map(({ name, value }) => [name, value]));
  const ids = all.all();
  return {
    indexedTo: { metric: state.get(indexedName('metric')) ?? 0, analytics: state.get(indexedName('analytics')) ?? 0 },
    *parts() {
      for (const { id, shard } of ids) {
        const row = read.get(id);
        if (!row) continue;
        const kind = KINDS[shard < 0 ? -1 - shard : Math.floor(shard / SHARDS)] as Kind;
        if (!isChecksumOf(row.checksum, [row.users, row.seqs])) yield { id, kind, entries: undefined };
        else if (shard >= 0) yield { id, kind, entries: decodePart(row) };
        else yield { id, kind, entries: unsortedEntries(row, state.get(sortedName(kind)) ?? 0) };
      }
    },
  };
}

/** Returns the entries of a run that are not in a shard yet. */
function unsortedEntries(stored: PartBlobs & PartEntry, sortedShards: number): UserEntries {
  const all = { users: new Uint32Array(stored.rows), seqs: new Float64Array(stored.rows) };
  new UserRun(stored, stored.rows).copyTo(all, 0);
  if (sortedShards === 0) return withoutErased(all, 0, stored.rows);
  const unsorted = new Entries(stored.rows);
  all.users.forEach((user, i) => {
    if (user !== 0 && user % SHARDS >= sortedShards) unsorted.push(user, all.seqs[i] as number);
  });
  return unsorted.take();
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

const NO_ENTRIES: UserEntries = { users: new Uint32Array(0), seqs: new Float64Array(0) };

/** Rows that are collected one by one. */
class Entries {
  #users: Uint32Array;
  #seqs: Float64Array;
  #rows = 0;

  constructor(capacity: number) {
    this.#users = new Uint32Array(capacity);
    this.#seqs = new Float64Array(capacity);
  }

  /** Adds a row. There must be room. */
  push(user: number, seq: number): void {
    this.#users[this.#rows] = user;
    this.#seqs[this.#rows++] = seq;
  }

  take(): UserEntries {
    return { users: this.#users.slice(0, this.#rows), seqs: this.#seqs.slice(0, this.#rows) };
  }
}

/** Returns the rows of a shard, without those of user 0. */
function withoutRemoved({ starts, ...entries }: SortedEntries, shard: number): UserEntries {
  return withoutErased(entries, starts[shard] as number, starts[shard + 1] as number);
}

/** Returns the rows from `start` to `end`, without those of user 0. */
function withoutErased({ users, seqs }: UserEntries, start: number, end: number): UserEntries {
  if (users.indexOf(0, start) < 0) return { users: users.subarray(start, end), seqs: seqs.subarray(start, end) };
  const present = new Entries(end - start);
  for (let i = start; i < end; i++) if (users[i] !== 0) present.push(users[i] as number, seqs[i] as number);
  return present.take();
}

function prepare(client: Database) {
  return {
    state: client.prepare<{ name: string; value: number }, []>(
      "SELECT name, value FROM column_state WHERE name LIKE 'user_rows%'",
    ),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    ofShard: client.prepare<PartEntry, [number]>(
      'SELECT id, rows FROM user_rows WHERE shard = ? AND rows > 0 ORDER BY id',
    ),
    all: client.prepare<{ id: number; shard: number }, []>(
      'SELECT id, shard FROM user_rows WHERE rows > 0 ORDER BY id',
    ),
    some: client.prepare<PartEntry, []>('SELECT id, rows FROM user_rows WHERE rows > 0 LIMIT 1000'),
    read: client.prepare<PartBlobs & PartEntry & { checksum: number }, [number]>(
      'SELECT id, rows, checksum, users, seqs FROM user_rows WHERE id = ?',
    ),
    insert: client.prepare('INSERT INTO user_rows (shard, rows, checksum, users, seqs) VALUES (?, ?, ?, ?, ?)'),
    replace: client.prepare('UPDATE user_rows SET rows = ?, checksum = ?, users = ?, seqs = ? WHERE id = ?'),
    blank: client.prepare(
      "UPDATE user_rows SET shard = 0, rows = 0, checksum = 0, users = x'', seqs = x'' WHERE id = ?",
    ),
  };
}
