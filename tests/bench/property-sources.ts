import type { Database } from 'bun:sqlite';
import { propertyOf } from '../../src/properties.ts';
import { createEventDataReader } from '../../src/storage/columns/event-data.ts';
import { ColumnBuilder } from '../../src/storage/columns/property-column.ts';
import { openStorage } from '../../src/storage/database.ts';
import { encodeRandomPart } from '../../src/storage/row-form.ts';
import { temporaryFolder } from '../harness/target.ts';
import { printHeader, printTable } from './report.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:property-sources
 *
 * Compares where queries could read a property of event data from, per row: the rows of a type that are dense or sparse, the
 * columns of one key or of all keys as they are built, and an index in SQLite, which slows down recording.
 */
const ROWS = 400_000;
const ROUNDS = 5;
/** Every event has one of this many types. */
const TYPES = 20;
const COMMIT_ROWS = 1_000;
const PATHS = [['plan'], ['page'], ['order'], ['device', 'os'], ['device', 'version'], ['price']];

const dataOf = (i: number) =>
  JSON.stringify({
    plan: ['free', 'pro', 'team'][(i * 7) % 3],
    page: `/page/${(i * 31) % 1_000}`,
    order: `order-${(i * 7_919) % 1_000_000}`,
    device: { os: 'ios', version: i % 11 },
    price: (i % 1_000) / 100,
  });

/** Fills a database with events. Returns the rate in rows per second. */
function fill(client: Database): number {
  client.run('PRAGMA synchronous = OFF');
  const insert = client.prepare('INSERT INTO analytics VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const from = performance.now();
  for (let start = 0; start < ROWS; start += COMMIT_ROWS) {
    client.run('BEGIN');
    for (let i = start; i < start + COMMIT_ROWS; i++) {
      const id = encodeRandomPart(2 ** 31, i);
      insert.run(i + 1, id, `user-${i % 50_000}`, 0, 0, `type ${i % TYPES}`, 'step', dataOf(i));
    }
    client.run('COMMIT');
  }
  return (ROWS / (performance.now() - from)) * 1_000;
}

function bytesOf(client: Database): number {
  client.run('PRAGMA wal_checkpoint(TRUNCATE)');
  const pages = client.query<{ page_count: number }, []>('PRAGMA page_count').get()?.page_count ?? 0;
  return (pages * 4_096) / ROWS;
}

/** Returns the time per item, in microseconds. */
function perItem(items: number, run: () => void): number {
  const from = performance.now();
  run();
  return ((performance.now() - from) * 1_000) / items;
}

printHeader('Where a property can be read from, per row');
const ratios: number[] = [];
const indexed: number[] = [];
const indexBytes: number[] = [];
const dense: number[] = [];
const sparse: number[] = [];
const oneKey: number[] = [];
const allKeys: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  using folder = temporaryFolder();
  const plain = openStorage(`${folder.path}/plain.db`);
  const withIndex = openStorage(`${folder.path}/index.db`);
  withIndex.client.run("CREATE INDEX by_plan ON analytics (type, json_extract(data, '$.plan'))");
  const [first, second] = round % 2 === 0 ? [plain, withIndex] : [withIndex, plain];
  const rates = new Map([first, second].map((storage) => [storage, fill(storage.client)]));
  ratios.push((rates.get(withIndex) ?? 0) / (rates.get(plain) ?? 1));
  indexBytes.push(bytesOf(withIndex.client) - bytesOf(plain.client));
  const count = withIndex.client.query(
    "SELECT json_extract(data, '$.plan') AS plan, count(*) FROM analytics WHERE type = 'type 3' GROUP BY plan",
  );
  indexed.push(perItem(ROWS / TYPES, () => void count.all()));

  const read = createEventDataReader(plain.client);
  const sparseKeys = Float64Array.from({ length: ROWS / TYPES }, (_, i) => i * TYPES + 4);
  sparse.push(perItem(sparseKeys.length, () => readPlans(read, 'type 3', sparseKeys)));
  plain.client.run("UPDATE analytics SET type = 'type 3'");
  const denseKeys = Float64Array.from({ length: ROWS }, (_, i) => i + 1);
  dense.push(perItem(ROWS, () => readPlans(read, 'type 3', denseKeys)));
  for (const storage of [plain, withIndex]) storage.close();

  const rows = Array.from({ length: 100_000 }, (_, i) => dataOf(i));
  oneKey.push(perItem(rows.length, () => build(rows, PATHS.slice(0, 1))));
  allKeys.push(perItem(rows.length, () => build(rows, PATHS)));
}
printTable([
  ['', `median (min to max) of ${ROUNDS}`],
  ['read from the rows, all of the type, µs per row', spread(dense)],
  [`read from the rows, one of ${TYPES} of the type, µs per row`, spread(sparse)],
  ['parse and add to the column of one key, µs per row', spread(oneKey)],
  [`parse and add to the columns of ${PATHS.length} keys, µs per row`, spread(allKeys)],
  ['count from an index on type and property, µs per row', spread(indexed)],
  ['recording with that index, against recording without', spread(ratios)],
  ['size of that index, bytes per row', spread(indexBytes, 0)],
]);

function readPlans(read: ReturnType<typeof createEventDataReader>, type: string, keys: Float64Array): void {
  for (let at = 0; at < keys.length; ) {
    at += read(type, keys.subarray(at, at + 8_192), (_, json) => void propertyOf(JSON.parse(json), ['plan']));
  }
}

function build(rows: readonly string[], paths: readonly (readonly string[])[]): void {
  const builders = paths.map(() => new ColumnBuilder(rows.length));
  for (const [row, json] of rows.entries()) {
    const data: unknown = JSON.parse(json);
    for (const [p, path] of paths.entries()) (builders[p] as ColumnBuilder).set(row, propertyOf(data, path));
  }
}
