import type { Chunk } from './chunk.ts';
import { decodeSeqs, encodeSeqs } from './seq-codec.ts';

/*
 * Rows that are removed from a stored chunk are overwritten with copies of the row before them, or after them at the start
 * of the chunk, so that all other rows keep their place: SQLite then writes only the pages that differ, a few of a hundred.
 * `rows` counts the rows without the copies; a copy has the same `seq` as its neighbor. Readers drop the copies.
 *
 * A chunk is stored without copies once half of its rows would be copies. So `rows` and the length of `times` tell whether
 * a time takes 4 or 8 bytes.
 */

/** A chunk as it is stored: with copies of rows. */
export interface CopiedChunk {
  /** The chunk, whose `rows` include the copies. */
  readonly stored: Chunk;
  /** The number of rows without the copies. */
  readonly rows: number;
}

/**
 * Overwrites the rows of a user with copies of their neighbors. Returns undefined if half of the rows would be copies.
 *
 * @param chunk a chunk with the copies it already has
 */
export function overwriteRowsOf(chunk: Chunk, user: number): CopiedChunk | undefined {
  const [times, users, labels, values] = [
    chunk.times.slice(),
    chunk.users.slice(),
    chunk.labels.slice(),
    chunk.values.slice(),
  ];
  const seqs = decodeSeqs(chunk.seqs, chunk.rows);
  const copy = (from: number, to: number) => {
    for (const array of [times, users, labels, seqs]) array[to] = array[from] as number;
    if (values.length > 0) values[to] = values[from] as number;
  };
  const firstKept = users.findIndex((owner) => owner !== user);
  if (firstKept < 0) return undefined;
  for (let row = firstKept - 1; row >= 0; row--) copy(firstKept, row);
  for (let row = users.indexOf(user, firstKept); row >= 0; row = users.indexOf(user, row + 1)) copy(row - 1, row);
  let rows = 1;
  for (let row = 1; row < seqs.length; row++) if (seqs[row] !== seqs[row - 1]) rows++;
  if (2 * rows <= chunk.rows) return undefined;
  const stored = { rows: chunk.rows, times, users, labels, values, seqs: encodeSeqs(seqs), ...extentOf(times) };
  return { stored, rows };
}

function extentOf(times: Float64Array): Pick<Chunk, 'minTime' | 'maxTime'> {
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < times.length; row++) {
    const time = times[row] as number;
    if (time < minTime) minTime = time;
    if (time > maxTime) maxTime = time;
  }
  return { minTime, maxTime };
}
