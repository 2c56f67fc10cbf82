import { type ColumnChunk, MAX_GROUP_BYTES, type ParquetSource, type RowGroup, readRowGroups } from './footer.ts';
import { columnValues, type ParquetValue } from './pages.ts';
import { ParquetError } from './thrift.ts';

/*
 * A reader of Parquet for files that nobody vouches for: those in a bucket. By itself, hyparquet allocates what a file claims,
 * decodes a whole row group at once and repeats runs as often as they say, so a file of 200 bytes can take gigabytes. Here it
 * decodes one page at a time, after its bounds were checked.
 */

/** Rows that are returned at once. */
const BATCH_ROWS = 1_000;

/** A row of a Parquet file; times are microseconds since 1970. */
export type ParquetRow = Readonly<Record<string, ParquetValue | null>>;

/**
 * Reads some columns of a Parquet file. Columns that are missing or nested are left out of the rows.
 *
 * In memory are one row group, compressed, the values of a page of each column and a few rows. The row group and its pages are
 * bounded by {@link MAX_GROUP_BYTES}, each of the two.
 *
 * @throws {ParquetError} if the file is damaged or exceeds a bound. The message contains no value
 */
export async function* readParquet(source: ParquetSource, columns: readonly string[]): AsyncGenerator<ParquetRow[]> {
  for await (const group of readRowGroups(source, new Set(columns))) yield* readGroup(source, group);
}

async function* readGroup(source: ParquetSource, { rows, chunks }: RowGroup): AsyncGenerator<ParquetRow[]> {
  let bytesLeft = MAX_GROUP_BYTES;
  const takeBytes = (bytes: number) => {
    bytesLeft -= bytes;
    if (bytesLeft < 0) throw new ParquetError(`a row group has more than ${MAX_GROUP_BYTES} bytes when decompressed`);
  };
  const compressedBytes = chunks.reduce((sum, { start, end }) => sum + end - start, 0);
  if (compressedBytes > MAX_GROUP_BYTES) throw new ParquetError(`a row group has more than ${MAX_GROUP_BYTES} bytes`);
  const readers: (readonly [ColumnChunk, () => ParquetValue | null])[] = [];
  for (const chunk of chunks) {
    const bytes = await source.read(chunk.start, chunk.end);
    readers.push([chunk, columnValues(bytes, chunk, rows, takeBytes)]);
  }
  for (let row = 0; row < rows; row += BATCH_ROWS) {
    yield Array.from({ length: Math.min(BATCH_ROWS, rows - row) }, () =>
      Object.fromEntries(readers.map(([{ column }, next]) => [column.name, next()])),
    );
  }
}
