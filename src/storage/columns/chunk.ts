import { checksumOfBlobs } from './checksum.ts';
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

/** Merges two chunks, keeping the order of their rows. */
export function mergeChunks(first: Chunk, second: Chunk): Chunk {
  const rows = first.rows + second.rows;
  const merged = allocateChunk(rows, first.values.length + second.values.length > 0);
  for (const name of ['times', 'users', 'labels', 'values'] as const) {
    merged[name].set(first[name]);
    merged[name].set(second[name], first[name].length);
  }
  const seqs = new Float64Array(rows);
  seqs.set(seqsOf(first));
  seqs.set(seqsOf(second), first.rows);
  return {
    rows,
    seqs: encodeSeqs(seqs),
    minTime: Math.min(first.minTime, second.minTime),
    maxTime: Math.max(first.maxTime, second.maxTime),
    ...merged,
  };
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

/** The arrays of a chunk as stored blobs. Little-endian, like every processor that Bun supports. */
export interface ChunkBlobs {
  readonly times: Uint8Array;
  readonly users: Uint8Array;
  readonly labels: Uint8Array;
  readonly values: Uint8Array;
  readonly seqs: Uint8Array;
}

/** Returns the bytes of a chunk's arrays, without copying them. */
export function encodeChunk({ times, users, labels, values, seqs }: Chunk): ChunkBlobs {
  return { times: bytesOf(times), users: bytesOf(users), labels: bytesOf(labels), values: bytesOf(values), seqs };
}

/** Returns the checksum of a chunk's blobs. */
export function checksumOf({ times, users, labels, values, seqs }: ChunkBlobs): number {
  return checksumOfBlobs([times, users, labels, values, seqs]);
}

/** Decodes a chunk from its blobs. */
export function decodeChunk(blobs: ChunkBlobs, extent: Pick<Chunk, 'rows' | 'minTime' | 'maxTime'>): Chunk {
  return {
    ...extent,
    times: decodeTimes(blobs.times),
    users: new Uint32Array(aligned(blobs.users)),
    labels: new Uint32Array(aligned(blobs.labels)),
    values: new Float64Array(aligned(blobs.values)),
    seqs: blobs.seqs,
  };
}

function decodeTimes(bytes: Uint8Array): Float64Array {
  return new Float64Array(aligned(bytes));
}

function bytesOf(array: Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Returns the bytes in their own buffer, copying if needed, because arrays of wider numbers must be aligned. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
    ? (bytes.buffer as ArrayBuffer)
    : (bytes.slice().buffer as ArrayBuffer);
}
