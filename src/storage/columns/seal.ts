import { type Job, MAX_TRANSACTION_BYTES } from '../job.ts';
import { type Chunk, mergeChunks, splitChunk } from './chunk.ts';
import { type EncodedChunk, encodeForTable } from './chunk-table.ts';
import { chunksToMerge, MAX_CHUNK_ROWS, MAX_PARTIAL_CHUNKS } from './chunks-to-merge.ts';
import type { Series } from './series.ts';
import type { StoreParts } from './store-parts.ts';
import type { RowVisitor } from './user-rows.ts';

/** Time after which encoded chunks are written, in milliseconds. Writing them takes about as long. */
const MAX_PREPARATION_MS = 10;

/** New chunks of a series, and the chunks they replace. */
interface SeriesWrite {
  readonly series: Series;
  readonly merged: readonly number[];
  readonly chunks: readonly EncodedChunk[];
  /** Approximate number of bytes written. */
  readonly bytes: number;
}

/**
 * Seals the memtable: writes its rows as chunks, series by series, in short transactions. Texts, pairs and the index come
 * first: they may exist without chunks, but not vice versa. If it fails, all parts must be reloaded.
 */
export function* sealMemtable(parts: StoreParts): Job<void> {
  const { memtable } = parts;
  yield* renumberTexts(parts);
  yield* parts.users.write();
  yield* parts.labels.write();
  yield* parts.userSeries.write(ascending(memtable.series()), (visit) => memtable.forEach(visit));
  yield* indexUserRows(parts);
  yield* writeChunks(parts);
  if (memtable.rows > 0) throw new Error('the memtable still contains rows after a seal');
  parts.series.removeUnwritten(); // erased before this seal
  parts.watermarks.dropReached();
}

/** Gives new users and labels their final numbers. */
function* renumberTexts({ memtable, users, labels }: StoreParts): Job<void> {
  const newUsers = users.arrange((visit) => {
    memtable.forEach((_series, user) => {
      visit(user);
    });
  });
  memtable.renumber('users', newUsers);
  yield;
  const newLabels = labels.arrange((visit) => {
    memtable.forEach((_series, _user, label) => {
      visit(label);
    });
  });
  memtable.renumber('labels', newLabels);
  yield;
}

/** Lists the rows of the memtable by user. */
function* indexUserRows({ memtable, series, userRows, watermarks }: StoreParts): Job<void> {
  const forEachRow = (visit: RowVisitor) =>
    memtable.forEach((seriesId, user, _label, seq) => {
      visit((series.byId(seriesId) as Series).kind, user, seq); // every series of the memtable is listed
    });
  yield* userRows.write(forEachRow, watermarks.applied);
}

/** Writes the rows of all series, each with the watermarks that tell which rows are sealed. */
function* writeChunks(parts: StoreParts): Job<void> {
  const { memtable, properties, transact } = parts;
  // in the order of the chunks that they are merged with, so that a transaction writes fewer pages
  const ids = ascending(memtable.series());
  for (let next = 0; next < ids.length; ) {
    const writes: SeriesWrite[] = [];
    const deadline = performance.now() + MAX_PREPARATION_MS;
    let bytes = 0;
    while (next < ids.length && bytes < MAX_TRANSACTION_BYTES && performance.now() < deadline) {
      const write = prepareWrite(parts, parts.series.byId(ids[next++] as number) as Series); // see above
      bytes += write.bytes;
      writes.push(write);
    }
    transact(() => writeSeries(parts, writes, next === ids.length));
    properties.memtableChanged();
    for (const { series } of writes) {
      memtable.dropSeries(series.id);
      parts.series.markWritten(series.id);
    }
    yield;
  }
}

/** Encodes the memtable rows of a series as new chunks, merged with some of its last chunks. */
function prepareWrite({ memtable, chunks: table }: StoreParts, series: Series): SeriesWrite {
  const { id, kind, name } = series;
  const added = memtable.chunk(id, kind === 'metric') as Chunk; // the memtable has rows of this series
  const merged = chunksToMerge(table.newestOf(id, MAX_PARTIAL_CHUNKS), added.rows);
  const chunk = mergeChunks([...merged.map((last) => table.read(last)), added]);
  const chunks = [...splitChunk(chunk, MAX_CHUNK_ROWS)].map(encodeForTable);
  const bytes = chunks.reduce((sum, part) => sum + part.bytes, 3 * name.length);
  return { series, merged, chunks, bytes };
}

/** Writes new chunks of some series, in the caller's transaction. */
function writeSeries(parts: StoreParts, writes: readonly SeriesWrite[], isLast: boolean): void {
  const { chunks: table, watermarks } = parts;
  for (const { series, merged, chunks } of writes) {
    parts.series.write(series);
    for (const chunk of merged) table.blank(chunk);
    for (const chunk of chunks) table.insert(series.id, chunk);
    if (!isLast) watermarks.setSealed(series);
  }
  if (isLast) watermarks.setAllSealed();
}

function ascending(numbers: number[]): number[] {
  return numbers.sort((a, b) => a - b);
}
