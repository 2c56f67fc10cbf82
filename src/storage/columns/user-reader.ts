import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { KINDS, type Kind } from '../../records.ts';
import { HAPPENED_AT } from '../row-form.ts';
import { StorageError } from '../storage-error.ts';
import { allocateChunk, type Chunk } from './chunk.ts';
import { encodeSeqs } from './seq-codec.ts';
import type { SourceRow } from './source-rows.ts';
import type { UserRows } from './user-rows.ts';

/**
 * Rows in chunks that are scanned in the time in which one row is looked up, if both are read from disk: a lookup reads a
 * page, about 0.1 ms, and a scan 20 bytes per row. In memory, the time of a lookup, 3 µs, suffices for about 100 rows.
 */
export const SCANNED_PER_LOOKUP = 1_000;
/** Rows looked up per statement: a few milliseconds. */
const BATCH_ROWS = 1_000;
/** Size of the cache of users' rows, in bytes. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** Maximum number of rows of a user that are kept in the cache: 13 MB. */
const MAX_CACHED_ROWS = 300_000;
/** Memory of a row that was looked up, in bytes: its time, user, label, value and encoded `seq`. */
const ROW_BYTES = 36;
/** Memory of a cache entry excluding its rows, in bytes. */
const ENTRY_BYTES = 1_000;

/** The limits of a query. Both functions throw if they are exceeded. */
export interface ReadLimits {
  readonly check: () => void;
  readonly reserve: (bytes: number) => void;
}

/** The numbers of names and labels. */
export interface Numbers {
  readonly series: (name: string) => number | undefined;
  readonly label: (series: number, label: string) => number | undefined;
}

/** A user whose rows are read. */
export interface ReadUser {
  readonly kind: Kind;
  readonly number: number;
  /** Reads only rows up to this `seq`. */
  readonly upTo: number;
}

/** The indexed rows of a user, by series. Each chunk contains only rows of the user, in commit order. */
export type UserChunks = ReadonlyMap<number, Chunk>;

/** Something that depends on the indexed rows, and is valid for one version of the index. */
interface Versioned {
  readonly version: number;
  readonly upTo: number;
}

/** A user in the cache. */
interface CachedUser extends Versioned {
  readonly rows: number;
  /** undefined: there are too many to keep. */
  readonly seqs: Float64Array | undefined;
  readonly chunks: UserChunks | undefined;
}

/** Reads the indexed rows of single users from the row tables, by their keys. Keeps those of the last users in memory. */
export class UserReader {
  readonly #client: Database;
  readonly #index: UserRows;
  readonly #lookUp: Record<Kind, ReturnType<typeof prepare>>;
  readonly #scannedPerLookup: number;
  readonly #cache = new LRUCache<string, CachedUser>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ seqs = [], chunks }) => ENTRY_BYTES + (chunks ? 8 + ROW_BYTES : 8) * seqs.length,
  });

  /** @param scannedPerLookup see {@link SCANNED_PER_LOOKUP}; 0: always looks rows up */
  constructor(client: Database, index: UserRows, scannedPerLookup: number) {
    this.#client = client;
    this.#index = index;
    this.#scannedPerLookup = scannedPerLookup;
    this.#lookUp = { metric: prepare(client, 'metric'), analytics: prepare(client, 'analytics') };
  }

  /** Returns the `seq` of each indexed row of a user, ascending. Some rows may be blank. */
  seqsOf({ kind, number, upTo }: ReadUser): Float64Array {
    const key = keyOf(kind, number);
    const { version } = this.#index;
    const cached = this.#cache.get(key);
    if (cached?.seqs && cached.version === version && cached.upTo === upTo) return cached.seqs;
    const all = this.#index.seqsOf(kind, number);
    const seqs = (all.at(-1) ?? 0) <= upTo ? all : all.filter((seq) => seq <= upTo);
    const kept = seqs.length <= MAX_CACHED_ROWS ? seqs : undefined;
    this.#cache.set(key, { version, upTo, rows: seqs.length, seqs: kept, chunks: undefined });
    return seqs;
  }

  /**
   * Returns the indexed rows of a user; undefined if it takes longer to look them up than to scan chunks.
   *
   * @param scannedRows number of rows in the chunks that would be scanned
   * @throws {StorageError} `corrupt` if a row has a label without a number
   */
  chunksOf(
    user: ReadUser,
    userId: string,
    scannedRows: number,
    numbers: Numbers,
    limits: ReadLimits,
  ): UserChunks | undefined {
    if (scannedRows < this.#scannedPerLookup) return undefined;
    const key = keyOf(user.kind, user.number);
    const known = this.#cache.get(key);
    // a user with this many rows had most of them before: do not decode them again just to count them
    if (known && known.rows > MAX_CACHED_ROWS && known.rows * this.#scannedPerLookup > scannedRows) return undefined;
    const seqs = this.seqsOf(user);
    const entry = this.#cache.get(key);
    if (entry?.chunks) return entry.chunks;
    if (seqs.length * this.#scannedPerLookup > scannedRows) return undefined;
    limits.reserve(ROW_BYTES * seqs.length);
    const chunks = this.#read(user, userId, seqs, numbers, limits.check);
    if (seqs.length > MAX_CACHED_ROWS) return chunks;
    this.#cache.set(key, { version: this.#index.version, upTo: user.upTo, rows: seqs.length, seqs, chunks });
    return chunks;
  }

  #read(
    { kind, number }: ReadUser,
    userId: string,
    seqs: Float64Array,
    numbers: Numbers,
    check: () => void,
  ): UserChunks {
    const bySeries = new Map<number, SourceRow[]>();
    // one read transaction, because each statement would begin its own
    this.#client.run('BEGIN');
    try {
      for (let at = 0; at < seqs.length; at += BATCH_ROWS) {
        check();
        const keys = JSON.stringify(Array.from(seqs.subarray(at, at + BATCH_ROWS)));
        for (const row of this.#lookUp[kind].all(keys, userId)) {
          const series = numbers.series(row.name);
          if (series === undefined) continue; // the removal of the name is not finished
          const rows = bySeries.get(series);
          if (rows) rows.push(row);
          else bySeries.set(series, [row]);
        }
      }
      const chunks = [...bySeries].map(([series, rows]) => {
        const labels = Uint32Array.from(rows, ({ label }) => labelOf(numbers, series, label));
        return [series, chunkOf(kind, number, labels, rows)] as const;
      });
      return new Map(chunks);
    } finally {
      this.#client.run('COMMIT');
    }
  }
}

function keyOf(kind: Kind, user: number): string {
  return `${KINDS.indexOf(kind)} ${user}`;
}

function labelOf(numbers: Numbers, series: number, label: string): number {
  const number = numbers.label(series, label);
  if (number === undefined) throw new StorageError('corrupt', new Error('the label of a sealed row has no number'));
  return number;
}

/** Creates the chunk of a user's rows in a series. */
function chunkOf(kind: Kind, user: number, labels: Uint32Array, rows: readonly SourceRow[]): Chunk {
  const { times, users, values } = allocateChunk(rows.length, kind === 'metric');
  users.fill(user);
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (const [i, { happenedAt, value }] of rows.entries()) {
    times[i] = happenedAt;
    if (kind === 'metric') values[i] = value;
    if (happenedAt < minTime) minTime = happenedAt;
    if (happenedAt > maxTime) maxTime = happenedAt;
  }
  const seqs = encodeSeqs(Float64Array.from(rows, ({ seq }) => seq));
  return { rows: rows.length, minTime, maxTime, times, users, labels, values, seqs };
}

function prepare(client: Database, kind: Kind) {
  const [table, columns] =
    kind === 'metric'
      ? ['metrics', 'metric_name AS name, data_string AS label, metric_value AS value']
      : ['analytics', 'type AS name, data_index AS label, 0 AS value'];
  // CROSS JOIN keeps the order of the keys, and looks each one up
  return client.prepare<SourceRow, [string, string]>(
    `SELECT seq, user_id AS userId, ${HAPPENED_AT} AS happenedAt, ${columns}
     FROM (SELECT value AS requested FROM json_each(?)) CROSS JOIN ${table} ON seq = requested WHERE user_id = ?`,
  );
}
