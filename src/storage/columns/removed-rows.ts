import { bytesOf, type Chunk, type ChunkBlobs, type StoredArrays, viewStoredChunk } from './chunk.ts';
import { extremesOf } from './extremes.ts';
import type { RemovedRows } from './summary.ts';

/*
 * The rows of an erased user stay in a stored chunk as rows of user 0 with the time, label and value of the row before them,
 * or after them at the start of the chunk. All other rows keep their place, so that SQLite writes only the pages that differ,
 * a few of a hundred. Only the `seq` is kept, as in the blank row. `rows` does not count them, and readers drop them.
 *
 * A chunk is stored without such rows once they would be half of it. So `rows` and the length of `times` tell whether a time
 * takes 4 or 8 bytes.
 */

type ChunkExtent = Pick<Chunk, 'rows' | 'minTime' | 'maxTime'>;

/** A chunk in which the rows of a user are overwritten, as it is stored. */
export interface OverwrittenChunk {
  readonly blobs: ChunkBlobs;
  /** The number of rows without those of user 0, and their earliest and latest time. */
  readonly extent: ChunkExtent;
  /** The labels of the rows, some of them more than once per row. */
  readonly labels: Uint16Array | Uint32Array;
  readonly removed: RemovedRows;
}

/**
 * Overwrites the rows of a user in a stored chunk, without decoding the others. Returns undefined, and overwrites nothing, if
 * half of the rows would be overwritten then.
 *
 * @param blobs the chunk with the rows of user 0 that it already has. Their bytes are overwritten
 * @param rows the indices of the user's rows: see {@link rowsOf}
 */
export function overwriteRows(
  blobs: ChunkBlobs,
  extent: ChunkExtent,
  rows: readonly number[],
): OverwrittenChunk | undefined {
  const stored = viewStoredChunk(blobs, extent);
  const { times, users, labels, values } = stored;
  const kept = extent.rows - rows.length;
  if (2 * kept <= users.length) return undefined;
  const isOffset = times instanceof Uint32Array;
  const timeOf = (time: number) => (isOffset ? extent.minTime + 1000 * time : time);
  const removed = {
    times: rows.map((row) => timeOf(times[row] as number)),
    values: values.length > 0 ? rows.map((row) => values[row] as number) : [],
  };
  for (const row of rows) users[row] = 0;
  overwriteRuns(stored, rows);
  let { minTime, maxTime } = extent;
  if (removed.times.some((time) => time === minTime || time === maxTime)) {
    const [first, last] = extremesOf(times);
    [minTime, maxTime] = [timeOf(first), timeOf(last)];
    if (isOffset && first > 0) for (let row = 0; row < times.length; row++) (times[row] as number) -= first;
  }
  return {
    blobs: {
      times: bytesOf(times),
      users: bytesOf(users),
      labels: bytesOf(labels),
      values: bytesOf(values),
      seqs: blobs.seqs,
    },
    extent: { rows: kept, minTime, maxTime },
    labels,
    removed,
  };
}

/** Returns the indices of the rows of a user, ascending. */
export function rowsOf(users: Uint16Array | Uint32Array, user: number): number[] {
  const rows: number[] = [];
  for (let row = users.indexOf(user); row >= 0; row = users.indexOf(user, row + 1)) rows.push(row);
  return rows;
}

/**
 * Overwrites the runs of rows of user 0 that contain some rows. The others in such a run can be copies of one of them.
 *
 * @param rows ascending
 */
function overwriteRuns({ times, users, labels, values }: StoredArrays, rows: readonly number[]): void {
  let end = 0;
  for (const row of rows) {
    if (row < end) continue;
    let start = row;
    while (start > 0 && users[start - 1] === 0) start--;
    end = row + 1;
    while (end < users.length && users[end] === 0) end++;
    const from = start > 0 ? start - 1 : end;
    times.fill(times[from] as number, start, end);
    labels.fill(labels[from] as number, start, end);
    if (values.length > 0) values.fill(values[from] as number, start, end);
  }
}
