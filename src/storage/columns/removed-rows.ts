import { allocateChunk, type Chunk } from './chunk.ts';
import type { RemovedRows } from './summary.ts';

/*
 * The rows of an erased user stay in a stored chunk as rows of user 0 with the time, label and value of the row before them,
 * or after them at the start of the chunk. All other rows keep their place, so that SQLite writes only the pages that differ,
 * a few of a hundred. Only the `seq` is kept, as in the blank row. `rows` does not count them, and readers drop them.
 *
 * A chunk is stored without such rows once they would be half of it. So `rows` and the length of `times` tell whether a time
 * takes 4 or 8 bytes.
 */

/** A chunk as it is stored: with rows of user 0. */
export interface StoredChunk {
  /** The chunk, whose `rows` include those of user 0. */
  readonly stored: Chunk;
  /** The number of rows without those of user 0. */
  readonly rows: number;
  /** Returns these rows, without their `seq`s. */
  readonly kept: () => Chunk;
  readonly removed: RemovedRows;
}

/**
 * Overwrites the rows of a user in the arrays of a chunk. Returns undefined, and overwrites nothing, if half of the rows
 * would be overwritten then.
 *
 * @param chunk a chunk with the rows of user 0 that it already has
 */
export function overwriteRowsOf(chunk: Chunk, user: number): StoredChunk | undefined {
  const { times, users, labels, values } = chunk;
  let rows = 0;
  for (let row = 0; row < users.length; row++) if (users[row] !== user && users[row] !== 0) rows++;
  if (2 * rows <= users.length) return undefined;
  const arrays = [times, labels, values] as const;
  const removed = { times: [] as number[], values: [] as number[] };
  let last = -1;
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < users.length; row++) {
    if (users[row] === user) {
      users[row] = 0;
      removed.times.push(times[row] as number);
      if (values.length > 0) removed.values.push(values[row] as number);
    }
    if (users[row] === 0) {
      if (last >= 0) copyRow(arrays, last, row);
      continue;
    }
    if (last < 0) for (let before = 0; before < row; before++) copyRow(arrays, row, before);
    last = row;
    const time = times[row] as number;
    if (time < minTime) minTime = time;
    if (time > maxTime) maxTime = time;
  }
  const stored = { rows: chunk.rows, times, users, labels, values, seqs: chunk.seqs, minTime, maxTime };
  return { stored, rows, kept: () => keptRows(stored, rows), removed };
}

function keptRows(stored: Chunk, rows: number): Chunk {
  const { users, minTime, maxTime } = stored;
  const kept = allocateChunk(rows, stored.values.length > 0);
  for (let row = 0, at = 0; row < users.length; row++) {
    if (users[row] === 0) continue;
    kept.times[at] = stored.times[row] as number;
    kept.users[at] = users[row] as number;
    kept.labels[at] = stored.labels[row] as number;
    if (kept.values.length > 0) kept.values[at] = stored.values[row] as number;
    at++;
  }
  return { rows, minTime, maxTime, seqs: new Uint8Array(0), ...kept };
}

function copyRow(arrays: readonly (Float64Array | Uint32Array)[], from: number, to: number): void {
  for (const array of arrays) if (to < array.length) array[to] = array[from] as number; // events have no values
}
