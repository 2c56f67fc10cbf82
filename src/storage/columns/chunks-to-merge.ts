import type { ChunkEntry } from './chunk-table.ts';

/**
 * Maximum number of rows in a chunk: at most 0.6 MB. An erasure rewrites every chunk that has a row of the user, so it
 * takes longer the larger they are.
 */
export const MAX_CHUNK_ROWS = 16_384;

/** Number of chunks of similar size with which new rows are merged before they fill a chunk. */
const MERGED_CHUNKS = 3;
/** Number of chunks that are not full, at the end of a series, from which all are merged. */
export const MAX_PARTIAL_CHUNKS = 24;

/**
 * Returns the keys of the chunks of a series with which new rows are merged, in commit order: the last chunks if these fill
 * a chunk together with the new rows, or if there are several of similar size. So each row is rewritten about log₄(rows)
 * times, and a series has about 2 log₄(rows) chunks that are not full.
 *
 * @param newest the last chunks of the series, at most {@link MAX_PARTIAL_CHUNKS}, the last one first
 * @param added the number of new rows
 */
export function chunksToMerge(newest: readonly Pick<ChunkEntry, 'id' | 'rows'>[], added: number): number[] {
  let merged = 0;
  let mergedRows = 0;
  for (const { rows } of newest) {
    // A chunk that became a little shorter in an erasure is not rewritten for a few rows.
    const isMuchLarger = rows > MAX_CHUNK_ROWS / 2 && rows > 2 * (mergedRows + added);
    if (mergedRows + rows >= MAX_CHUNK_ROWS || isMuchLarger) break;
    mergedRows += rows;
    merged++;
  }
  if (mergedRows + added < MAX_CHUNK_ROWS && merged < MAX_PARTIAL_CHUNKS) {
    // not enough for a full chunk: only those of similar size
    const candidates = newest.slice(0, merged);
    merged = 0;
    mergedRows = 0;
    for (;;) {
      const isSimilar = ({ rows }: Pick<ChunkEntry, 'rows'>) => rows <= 2 * (mergedRows + added);
      const end = candidates.findIndex((entry, i) => i >= merged && !isSimilar(entry));
      const similar = candidates.slice(merged, end < 0 ? undefined : end);
      const rows = similar.reduce((sum, entry) => sum + entry.rows, mergedRows);
      if (similar.length < MERGED_CHUNKS || rows + added > MAX_CHUNK_ROWS / 2) break;
      merged += similar.length;
      mergedRows = rows;
    }
  }
  return newest
    .slice(0, merged)
    .map(({ id }) => id)
    .reverse();
}
