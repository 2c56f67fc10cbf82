import { expect, test } from 'bun:test';
import { readFileSync, statSync } from 'node:fs';
import type { LogRecord } from '../../src/records.ts';
import { deleteRecords } from '../../src/storage/deletion.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { IN_BACKGROUND, INTERRUPTIBLE, type Job, runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { KEEP_NOTHING, KEEP_SOME, readPageUse, reclaimSpace } from '../../src/storage/reclaiming.ts';
import { pruneRecords } from '../../src/storage/retention.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { truncateWal } from '../../src/storage/wal.ts';
import { sampleOf } from '../harness/sampling.ts';
import { close, type FilledDatabase, filledDatabases, storeRows } from '../storage/filled.ts';
import { event, FIRST_SEQ, metric, records } from '../storage/log.ts';

const openFilled = filledDatabases();
const MARK = 'Xq7neighbor';
const NOW = Date.UTC(2026, 6, 1);
const OLD = { happenedAt: (NOW - 90 * 86_400_000) * 1000 };
const NEW = { happenedAt: (NOW - 86_400_000) * 1000 };
const REQUEST = { retention: { seconds: 30 * 86_400, rules: [] }, now: NOW };

/**
 * Old rows in runs of about 5,000, with new ones of a marked user after each, from 1 to 60 and of many lengths; then enough
 * new rows for a file above 2 MB.
 */
const withNeighbors = (isMetric: boolean): LogRecord[] => {
  let isOld = false;
  let left = 0;
  let runs = 0;
  return records(60_000, (seq, i) => {
    if (left-- === 0) {
      isOld = !isOld && i < 40_000;
      left = isOld ? 4_000 + ((runs * 389) % 2_000) : i < 40_000 ? (runs++ * 17) % 60 : Number.POSITIVE_INFINITY;
    }
    const isNeighbor = i < 40_000 && !isOld;
    const stamp = { ...(isOld ? OLD : NEW), userId: isNeighbor ? MARK : `user ${i % 9}` };
    const text = `${isNeighbor ? MARK : 'text'} ${i} ${'-'.repeat((i * 31) % 700)}`;
    return isMetric
      ? metric(seq, { ...stamp, dataString: text })
      : event(seq, { ...stamp, dataIndex: `${i % 10}`, data: JSON.stringify({ text }) });
  });
};

function expectVerified({ path }: Pick<FilledDatabase, 'path'>): void {
  const other = openReader(path);
  expect(verifyDatabase(other.client).problems).toEqual([]);
  other.close();
}

const rowsIn = ({ client }: ReaderStorage, table: string, where = '1'): number | undefined =>
  client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).get()?.n;

/** Returns how often a text occurs in the database file and its write-ahead log. */
function occurrences(path: string, text: string): number {
  const count = (bytes: Buffer) => {
    let found = 0;
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) found++;
    return found;
  };
  return count(readFileSync(path)) + count(readFileSync(`${path}-wal`));
}

/** Deletes the old metrics, as a request does: their rows are left to {@link reclaimSpace}. */
function deleteOld(reader: ReaderStorage): void {
  const filter = { user: undefined, name: 'load', from: undefined, to: NEW.happenedAt };
  runJob(deleteRecords(reader, 'metric', filter));
}

test.each([
  ['metrics', 'deletion'],
  ['analytics', 'prune'],
] as const)(
  'deletes long runs of %s after a %s, and an erasure of a neighbor then finds every copy of its rows',
  async (table, what) => {
    const database = await openFilled(withNeighbors(table === 'metrics'));
    const { reader, path } = database;
    runJob(reader.store.catchUp());
    runJob(reader.store.seal());
    truncateWal(reader.client, 0);
    const copies = occurrences(path, MARK);
    expect(copies).toBeGreaterThan(200);
    const before = statSync(path).size;
    if (what === 'deletion') deleteOld(reader);
    else runJob(pruneRecords(reader, REQUEST));
    // a prune deletes most of its rows itself
    if (what === 'deletion') expect(rowsIn(reader, table)).toBe(60_000);
    else expect(rowsIn(reader, table)).toBeLessThan(50_000);
    truncateWal(reader.client, 0); // it can have older copies of pages
    expect(occurrences(path, MARK)).toBe(copies); // no row was moved: a moved one leaves a copy
    expectVerified(database);
    runJob(reclaimSpace(reader, KEEP_NOTHING));
    expectVerified(database);
    // each of the eight or nine runs keeps at most 2 × 1,025 rows
    expect(rowsIn(reader, table, "user_id = ''")).toBeLessThan(9 * 2_060);
    expect(readPageUse(reader.client)).toMatchObject({ freePages: 0, canShrink: true });
    expect(statSync(path).size).toBeLessThan(0.8 * before);

    truncateWal(reader.client, 0);
    expect(occurrences(path, MARK)).toBe(copies);
    runJob<unknown>(eraseUser(reader, MARK));
    expect(statSync(path).size).toBeGreaterThan(2 * 1024 ** 2); // a smaller file would be rewritten as a whole
    expect(occurrences(path, MARK)).toBe(0);
    expectVerified(database);
    close(database);
  },
);

test('continues where it was interrupted, and verifies after any step', async () => {
  for (const steps of sampleOf([1, 2, 3, 5, 8, 13, 21, 34, 55, 89])) {
    const database = await openFilled(withNeighbors(true));
    deleteOld(database.reader);
    const job: Job<unknown> = reclaimSpace(database.reader, KEEP_NOTHING, IN_BACKGROUND);
    for (let step = 0; step < steps && !job.next().done; step++);
    expectVerified(database);
    database.reader.close();
    const reader = openReader(database.path);
    runJob(reclaimSpace(reader, KEEP_NOTHING));
    expect(rowsIn(reader, 'metrics', "user_id = ''")).toBeLessThan(9 * 2_060);
    expect(readPageUse(reader.client).freePages).toBe(0);
    expect(rowsIn(reader, 'column_state', "name LIKE 'blanked%'")).toBe(0);
    expectVerified(database);
    reader.close();
    database.storage.close();
  }
}, 180_000); // it verifies the file after each step: 45 s alone

test('a file that grows at one end and expires at the other keeps its size', async () => {
  const BATCH = 30_000;
  const batch = (n: number) =>
    records(BATCH, (seq) => metric(seq + n * BATCH, { happenedAt: (NOW + n * 86_400_000) * 1000 }));
  const database = await openFilled(batch(0));
  const { reader, storage, path } = database;
  const sizes: number[] = [];
  for (let n = 1; n <= 8; n++) {
    await storeRows(storage, batch(n));
    const now = NOW + n * 86_400_000;
    runJob(pruneRecords(reader, { retention: { seconds: 1.5 * 86_400, rules: [] }, now }));
    runJob(reclaimSpace(reader, KEEP_SOME));
    expectVerified(database);
    sizes.push(statSync(path).size);
  }
  // the first two batches fill it; after that, new rows take the place of expired ones
  expect(Math.max(...sizes.slice(2))).toBeLessThan(1.25 * Math.max(...sizes.slice(0, 2)));
  expect(rowsIn(reader, 'metrics', "user_id = ''")).toBeLessThan(3_000);
  close(database);
});

test('keeps the blank rows at the ends of runs that are close to each other', async () => {
  // Each run is a little longer than what is kept at its ends, so its other rows are deleted together with those of the next.
  const runLength = 2_100;
  const all = records(60_000, (seq, i) => {
    const isNeighbor = i % (runLength + 5) >= runLength && i < 30_000;
    const text = `${isNeighbor ? MARK : 'text'} ${i} ${'-'.repeat((i * 31) % 300)}`;
    return metric(seq, {
      ...(isNeighbor || i >= 30_000 ? NEW : OLD),
      userId: isNeighbor ? MARK : `user ${i % 9}`,
      dataString: text,
    });
  });
  const database = await openFilled(all);
  const { reader, path } = database;
  const old = all.filter(({ happenedAt }) => happenedAt === OLD.happenedAt).length;
  const runs = Math.ceil(30_000 / (runLength + 5));
  deleteOld(reader);
  truncateWal(reader.client, 0);
  const copies = occurrences(path, MARK);
  expect(rowsIn(reader, 'metrics', "user_id = ''")).toBe(old);
  runJob(reclaimSpace(reader, KEEP_NOTHING));
  const kept = rowsIn(reader, 'metrics', "user_id = ''") ?? 0;
  expect(kept).toBeLessThan(old); // some rows were deleted, and at least four pages of them are kept at each end
  expect(kept).toBeGreaterThan((runs - 1) * 2 * 4 * 204);
  truncateWal(reader.client, 0);
  expect(occurrences(path, MARK)).toBe(copies);
  runJob<unknown>(eraseUser(reader, MARK));
  expect(occurrences(path, MARK)).toBe(0);
  expectVerified(database);
  close(database);
});

test('deletes nothing of short runs, as between the rows of other names', async () => {
  // a file above 2 MB
  const all = records(50_000, (seq, i) => metric(seq, { metricName: i % 2 === 0 ? 'even' : 'odd' }));
  const database = await openFilled(all);
  const { reader } = database;
  const filter = { user: undefined, name: 'odd', from: undefined, to: undefined };
  expect(runJob(deleteRecords(reader, 'metric', filter))).toBe(25_000);
  runJob(reclaimSpace(reader, KEEP_NOTHING));
  expect(rowsIn(reader, 'metrics')).toBe(50_000);
  expect(FIRST_SEQ).toBe(all[0]?.seq ?? 0);
  expectVerified(database);
  close(database);
});

test('keeps earlier rows that a deletion blanks between two steps in the range to look for', async () => {
  const names = ['a', 'b'].flatMap((name) => [...Array(20_000).fill(name), ...Array(3_000).fill('kept')] as string[]);
  const database = await openFilled(records(names.length, (seq, i) => metric(seq, { metricName: names[i] as string })));
  const { reader } = database;
  const remove = (name: string) =>
    runJob(deleteRecords(reader, 'metric', { user: undefined, name, from: undefined, to: undefined }));
  remove('b');
  let isInterrupted = false;
  const job = reclaimSpace(reader, KEEP_NOTHING);
  for (let step = job.next(); !step.done; step = job.next()) {
    if (step.value !== INTERRUPTIBLE || isInterrupted) continue;
    isInterrupted = true;
    remove('a');
  }
  expect(isInterrupted).toBe(true);
  runJob(reclaimSpace(reader, KEEP_NOTHING));
  expect(rowsIn(reader, 'metrics', "user_id = ''")).toBeLessThan(2 * 2_060);
  expectVerified(database);
  close(database);
});
