import { checksumOfBlobs, isChecksumOf } from './checksum.ts';
import { extremesOf } from './extremes.ts';
import { decodeSeqs, encodeSeqs } from './seq-codec.ts';

/** Rows of one series, in commit order. Each array has one element per row. */
export interface Chunk {
  readonly rows: number;
  /** `happened_at`, in microseconds since 1970. */
  readonly times: Float64Array;
  /** Numbers of the users in the dictionary. */
  readonly users: Uint32Array;
  /** Numbers of the labels in the dictionary. */
  readonly labels: Uint32Array;
  /** Values of a metric; empty for events. */
  readonly values: Float64Array;
  /** `seq` of each row, ascending; encoded, because few queries need them. See {@link seqsOf}. */
  readonly seqs: Uint8Array;
  /** The earliest of `times`. */
  readonly minTime: number;
  /** The latest of `times`. */
  readonly maxTime: number;
}

/** Allocates the arrays of a chunk with the given number of rows. The caller fills them. */
export function allocateChunk(rows: number, hasValues: boolean) {
  return {
    times: new Float64Array(rows),
    users: new Uint32Array(rows),
    labels: new Uint32Array(rows),
    values: new Float64Array(hasValues ? rows : 0),
  };
}

/** Returns the `seq` of each row of a chunk, ascending. */
export function seqsOf({ seqs, rows }: Pick<Chunk, 'seqs' | 'rows'>): Float64Array {
  return decodeSeqs(seqs, rows);
}

/** Merges one or more chunks, keeping the order of their rows. */
export function mergeChunks(chunks: readonly Chunk[]): Chunk {
  const [first] = chunks;
  if (first && chunks.length === 1) return first;
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  const merged = allocateChunk(
    rows,
    chunks.some(({ values }) => values.length > 0),
  );
  const seqs = new Float64Array(rows);
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  let at = 0;
  for (const chunk of chunks) {
    merged.times.set(chunk.times, at);
    merged.users.set(chunk.users, at);
    merged.labels.set(chunk.labels, at);
    if (chunk.values.length > 0) merged.values.set(chunk.values, at);
    seqs.set(seqsOf(chunk), at);
    minTime = Math.min(minTime, chunk.minTime);
    maxTime = Math.max(maxTime, chunk.maxTime);
    at += chunk.rows;
  }
  return { rows, minTime, maxTime, seqs: encodeSeqs(seqs), ...merged };
}

/**
 * Returns some consecutive rows of a chunk as a chunk that shares its arrays. Its extent is that of the whole chunk.
 *
 * @param seqs the chunk's {@link seqsOf}
 */
export function sliceChunk(chunk: Chunk, seqs: Float64Array, start: number, end: number): Chunk {
  const { times, users, labels, values, minTime, maxTime } = chunk;
  return {
    rows: end - start,
    minTime,
    maxTime,
    times: times.subarray(start, end),
    users: users.subarray(start, end),
    labels: labels.subarray(start, end),
    values: values.subarray(start, end),
    seqs: encodeSeqs(seqs.subarray(start, end)),
  };
}

/**
 * Returns the chunk without some of its rows; undefined if it keeps all of them.
 *
 * @param isRemoved returns whether to remove a row, given its index; called twice per row
 */
export function withoutRows(chunk: Chunk, isRemoved: (row: number) => boolean): Chunk | undefined {
  let rows = 0;
  for (let i = 0; i < chunk.rows; i++) if (!isRemoved(i)) rows++;
  if (rows === chunk.rows) return undefined;
  const kept = allocateChunk(rows, chunk.values.length > 0);
  const seqs = seqsOf(chunk);
  const keptSeqs = new Float64Array(rows);
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (let i = 0, at = 0; i < chunk.rows; i++) {
    if (isRemoved(i)) continue;
    const time = chunk.times[i] as number;
    kept.times[at] = time;
    kept.users[at] = chunk.users[i] as number;
    kept.labels[at] = chunk.labels[i] as number;
    if (kept.values.length > 0) kept.values[at] = chunk.values[i] as number;
    keptSeqs[at] = seqs[i] as number;
    if (time < minTime) minTime = time;
    if (time > maxTime) maxTime = time;
    at++;
  }
  return { rows, minTime, maxTime, seqs: encodeSeqs(keptSeqs), ...kept };
}

/** Yields a chunk in parts of at most this many rows. */
export function* splitChunk(chunk: Chunk, maxRows: number): Generator<Chunk> {
  if (chunk.rows <= maxRows) {
    yield chunk;
    return;
  }
  const seqs = seqsOf(chunk);
  for (let start = 0; start < chunk.rows; start += maxRows) {
    const part = sliceChunk(chunk, seqs, start, Math.min(start + maxRows, chunk.rows));
    const [minTime, maxTime] = extremesOf(part.times);
    yield { ...part, minTime, maxTime };
  }
}

/**
 * The arrays of a chunk as stored blobs. Little-endian, like every processor that Bun supports. Their length tells how
 * wide their numbers are:
 *
 *   times           32 bits: milliseconds since the earliest one, if that is exact; 64 bits: doubles
 *   users, labels   16 bits if all numbers fit; otherwise 32 bits
 *   values          doubles
 *   seqs            see seq-codec.ts; then zeros, for a length that moves no other chunk: see local-part.ts
 *
 * They can contain rows of user 0 instead of removed rows: see removed-rows.ts.
 */
export interface ChunkBlobs {
  readonly times: Uint8Array;
  readonly users: Uint8Array;
  readonly labels: Uint8Array;
  readonly values: Uint8Array;
  readonly seqs: Uint8Array;
}

/** Encodes a chunk. */
export function encodeChunk({ times, users, labels, values, seqs, minTime }: Chunk): ChunkBlobs {
  return {
    times: bytesOf(inMilliseconds(times, minTime) ?? times),
    users: bytesOf(narrow(users)),
    labels: bytesOf(narrow(labels)),
    values: bytesOf(values),
    seqs,
  };
}

/** Returns the checksum of a chunk's blobs. */
export function checksumOf({ times, users, labels, values, seqs }: ChunkBlobs): number {
  return checksumOfBlobs([times, users, labels, values, seqs]);
}

/** Returns whether a stored checksum is that of a chunk's blobs. */
export function hasChecksum({ times, users, labels, values, seqs }: ChunkBlobs, stored: number): boolean {
  return isChecksumOf(stored, [times, users, labels, values, seqs]);
}

/** Decodes a chunk from its blobs. Damaged blobs can yield arrays of another length than the number of rows. */
export function decodeChunk(blobs: ChunkBlobs, extent: Pick<Chunk, 'rows' | 'minTime' | 'maxTime'>): Chunk {
  const { rows, minTime, maxTime } = extent;
  const { times, users, labels, values } = viewStoredChunk(blobs, extent);
  const stored = {
    rows: countStored(blobs.times.byteLength, rows),
    minTime,
    maxTime,
    times: times instanceof Uint32Array ? fromMilliseconds(times, minTime) : times,
    users: widen(users),
    labels: widen(labels),
    values,
    seqs: blobs.seqs,
  };
  return stored.rows === rows ? stored : { ...dropRemoved(stored), rows, minTime, maxTime };
}

/** Returns a chunk without the rows of user 0, which were removed: see removed-rows.ts. */
function dropRemoved(stored: Chunk): Chunk {
  return withoutRows(stored, (row) => stored.users[row] === 0) ?? stored;
}

/** The arrays of a stored chunk as they are encoded, with the rows of user 0 that are stored instead of removed rows. */
export interface StoredArrays {
  /** Milliseconds since the earliest time, or microseconds since 1970. */
  readonly times: Uint32Array | Float64Array;
  readonly users: Uint16Array | Uint32Array;
  readonly labels: Uint16Array | Uint32Array;
  /** Empty for events. */
  readonly values: Float64Array;
}

/** Returns the arrays of a chunk, which share the memory of its blobs if that is aligned. */
export function viewStoredChunk(blobs: Omit<ChunkBlobs, 'seqs'>, extent: Pick<Chunk, 'rows'>): StoredArrays {
  const { times, users, labels, values } = blobs;
  const rows = countStored(times.byteLength, extent.rows);
  return {
    times: times.byteLength === 4 * rows ? new Uint32Array(aligned(times)) : doublesOf(times),
    users: numbersOf(users, rows),
    labels: numbersOf(labels, rows),
    values: doublesOf(values),
  };
}

/** Returns the number of stored rows of a chunk, including those of user 0. */
function countStored(timesBytes: number, rows: number): number {
  return Math.floor(timesBytes / (rows > timesBytes / 8 ? 4 : 8));
}

function fromMilliseconds(offsets: Uint32Array, minTime: number): Float64Array {
  const times = new Float64Array(offsets.length);
  for (let i = 0; i < offsets.length; i++) times[i] = minTime + 1000 * (offsets[i] as number);
  return times;
}

/** Returns times as milliseconds since the earliest one; undefined if that is not exact. */
function inMilliseconds(times: Float64Array, minTime: number): Uint32Array | undefined {
  const offsets = new Uint32Array(times.length);
  for (let i = 0; i < times.length; i++) {
    const offset = ((times[i] as number) - minTime) / 1000;
    offsets[i] = offset;
    if (offsets[i] !== offset) return undefined;
  }
  return offsets;
}

function narrow(numbers: Uint32Array): Uint32Array | Uint16Array {
  for (let i = 0; i < numbers.length; i++) if ((numbers[i] as number) > 0xffff) return numbers;
  return new Uint16Array(numbers);
}

function numbersOf(bytes: Uint8Array, rows: number): Uint16Array | Uint32Array {
  return bytes.byteLength === 2 * rows
    ? new Uint16Array(aligned(bytes))
    : new Uint32Array(aligned(bytes), 0, Math.floor(bytes.byteLength / 4));
}

function widen(numbers: Uint16Array | Uint32Array): Uint32Array {
  return numbers instanceof Uint32Array ? numbers : new Uint32Array(numbers);
}

function doublesOf(bytes: Uint8Array): Float64Array {
  return new Float64Array(aligned(bytes), 0, Math.floor(bytes.byteLength / 8));
}

/** Returns the bytes of an array, without copying them. */
export function bytesOf(array: Float64Array | Uint32Array | Int32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Returns the bytes in their own buffer, copying if needed, because arrays of wider numbers must be aligned. */
export function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
    ? (bytes.buffer as ArrayBuffer)
    : (bytes.slice().buffer as ArrayBuffer);
}
