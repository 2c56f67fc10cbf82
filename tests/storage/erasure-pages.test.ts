import { expect, test } from 'bun:test';
import { checksumOfBlobs, isChecksumOf } from '../../src/storage/columns/checksum.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { type Job, runJob } from '../../src/storage/job.ts';
import type { ReaderStorage } from '../../src/storage/reader.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { type WalPosition, walPosition } from '../../src/storage/wal.ts';
import { close, filledDatabases } from './filled.ts';
import { metric, records } from './log.ts';

const openFilled = filledDatabases();

const ROWS = 60_000;
/** Of three rows, one belongs to a heavy user; each ordinary one has about four. */
const ROWS_OF_USERS = records(ROWS, (seq, i) =>
  metric(seq, {
    metricName: 'load',
    metricValue: ((i * 7919) % 10_007) / 8,
    dataString: `/page ${i % 50}`,
    userId: i % 3 === 0 ? 'heavy' : `user ${(i * 7) % 9_973}`,
    happenedAt: 1.7e15 + i * 2e6,
  }),
);

/** Opens the database with its rows sealed in full chunks. Commits run no checkpoints. */
async function openSealed() {
  const opened = await openFilled(ROWS_OF_USERS);
  runJob(opened.reader.store.catchUp());
  runJob(opened.reader.store.seal());
  opened.reader.client.run('PRAGMA wal_autocheckpoint = 0');
  return opened;
}

/** Runs a job, and visits the position of the write-ahead log before and after each of its steps. */
function runMeasured<Result>(
  { client }: ReaderStorage,
  job: Job<Result>,
  visit: (before: WalPosition, after: WalPosition) => void,
): Result {
  const position = () => walPosition(client) ?? { frames: Number.NaN, checkpointed: Number.NaN };
  for (;;) {
    const before = position();
    const { done, value } = job.next();
    if (done) return value;
    visit(before, position());
  }
}

test('an erasure writes few pages of each chunk', async () => {
  const opened = await openSealed();
  const { reader } = opened;
  const statement = reader.client.query<{ checksum: number }, []>('SELECT checksum FROM chunks ORDER BY id');
  const readChecksums = () => statement.all().map(({ checksum }) => checksum);
  const pages: number[] = [];
  for (let number = 1; number <= 60; number++) {
    let checksums = readChecksums();
    runMeasured(reader, eraseUser(reader, `user ${number}`), (before, after) => {
      const changed = readChecksums();
      const rewritten = changed.filter((checksum, i) => checksum !== checksums[i]).length;
      checksums = changed;
      if (rewritten > 0) pages.push((after.frames - before.frames) / rewritten);
    });
  }
  expect(pages.length).toBeGreaterThan(100);
  // a chunk and its summary fill more than 100 pages
  expect(Math.max(...pages)).toBeLessThan(40);
  expect(pages.toSorted((a, b) => a - b)[pages.length >> 1]).toBeLessThan(14);
  expect(verifyDatabase(reader.client).problems).toEqual([]);
  close(opened);
});

test('a checksum has the same size in a row as any other', () => {
  for (let i = 0; i < 1_000; i++) {
    const checksum = checksumOfBlobs([new Uint8Array([i, i >> 8])]);
    expect(checksum).toBeGreaterThanOrEqual(2 ** 52);
    expect(checksum).toBeLessThan(2 ** 53);
  }
});

test('a database whose checksums have no constant bit is read, verified and erased from', async () => {
  const opened = await openSealed();
  const { reader } = opened;
  const columns = [
    ['chunks', 'checksum'],
    ['chunk_summaries', 'checksum'],
    ['chunk_summaries', 'quarters_checksum'],
    ['user_rows', 'checksum'],
  ] as const;
  for (const [table, column] of columns) {
    const { changes } = reader.client.run(`UPDATE ${table} SET ${column} = ${column} - (1 << 52) WHERE ${column} <> 0`);
    expect(changes).toBeGreaterThan(0);
  }
  reader.store.reload();
  expect(verifyDatabase(reader.client).problems).toEqual([]);
  expect(runJob(eraseUser(reader, 'user 7')).metrics).toBeGreaterThan(0);
  expect(verifyDatabase(reader.client).problems).toEqual([]);
  expect(isChecksumOf(checksumOfBlobs([]) - 2 ** 51, [])).toBe(false);
  close(opened);
});

test('the write-ahead log is copied between the steps of an erasure', async () => {
  const opened = await openSealed();
  let largest = 0;
  const { metrics } = runMeasured(opened.reader, eraseUser(opened.reader, 'heavy'), (_before, after) => {
    largest = Math.max(largest, after.frames - after.checkpointed);
  });
  expect(metrics).toBe(ROWS / 3);
  // half of the pages at which a commit would do it, and those of a step: it writes more than 2,000 in total
  expect(largest).toBeLessThan(1_600);
  close(opened);
});
