import { expect, test } from 'bun:test';
import type { Retention } from '../../src/formats/retention.ts';
import type { LogRecord } from '../../src/records.ts';
import { forecastFull, type Growth, readGrowth } from '../../src/storage/disk-forecast.ts';
import { runJob } from '../../src/storage/job.ts';
import { readPageUse } from '../../src/storage/reclaiming.ts';
import { SEQ_EPOCH } from '../../src/storage/record-id.ts';
import { close, filledDatabases, storeRows } from './filled.ts';
import { event, metric } from './log.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 26);
const FOREVER: Retention = { seconds: undefined, rules: [] };
const GB = 1e9;

const openFilled = filledDatabases();

/** Returns rows that were received evenly over a time, in days before now. */
function received(perDay: number, fromDaysAgo: number, toDaysAgo = 0, make: typeof metric | typeof event = metric) {
  const count = Math.round(perDay * (fromDaysAgo - toDaysAgo));
  return Array.from({ length: count }, (_, i): LogRecord => {
    const at = NOW - (fromDaysAgo - (i + 0.5) / perDay) * DAY_MS;
    return make((Math.floor(at) - SEQ_EPOCH) * 4096);
  });
}

test('counts the rows received in the last seven days, in chunks or not, per byte of the file', async () => {
  const database = await openFilled([...received(300, 10, 7), ...received(100, 7, 2)]);
  const { store, client } = database.reader;
  for (const job of [store.catchUp(), store.seal()]) runJob(job);
  await storeRows(database.storage, [...received(100, 2), ...received(50, 2, 0, event)]);
  const growth = readGrowth(client, NOW, FOREVER);
  expect(growth).toMatchObject({ days: 7, rowsPerDay: 800 / 7 });
  const { pages, freePages, pageSize } = readPageUse(client);
  const usedBytes = (pages - freePages) * pageSize;
  expect(growth).toMatchObject({ usedBytes, bytesPerRow: usedBytes / 1700, freePagesBytes: freePages * pageSize });
  // only three days are kept: the time before that does not count
  const kept = { seconds: 3 * 86_400, rules: [] };
  expect(readGrowth(client, NOW, kept)).toMatchObject({ days: 3, rowsPerDay: 400 / 3 });
  close(database);
});

test('estimates the rows in chunks if there are too many to count', async () => {
  const old = received(100, 14, 11).map((row) => ({ ...row, metricName: 'old' }) as LogRecord);
  const database = await openFilled([...old, ...received(100, 10, 1), ...received(20, 10, 1, event)]);
  const { store, client } = database.reader;
  for (const job of [store.catchUp(), store.seal()]) runJob(job);
  await storeRows(database.storage, received(100, 1));
  const growth = readGrowth(client, NOW, FOREVER, 50);
  expect(growth?.rowsPerDay).toBeWithin((6 * 120 + 100) / 7 - 1, (6 * 120 + 100) / 7 + 1);
  close(database);
});

test('is unknown before the first day is over, and while a rebuild has begun', async () => {
  const database = await openFilled(received(100, 0.9));
  const { client } = database.reader;
  expect(readGrowth(client, NOW, FOREVER)).toBeUndefined();
  const later = NOW + DAY_MS / 5;
  expect(readGrowth(client, later, FOREVER)?.rowsPerDay).toBeWithin(90 / 1.1, 90 / 1.09);
  client.run("INSERT OR REPLACE INTO column_state VALUES ('rebuilding', 1)");
  expect(readGrowth(client, later, FOREVER)).toBeUndefined();
  close(database);
  const empty = await openFilled([]);
  expect(readGrowth(empty.reader.client, NOW, FOREVER)).toBeUndefined();
  close(empty);
});

const GROWTH: Growth = { days: 7, rowsPerDay: 1e6, bytesPerRow: 200, usedBytes: 2 * GB, freePagesBytes: 0.5 * GB };
const DISK = { freeBytes: 10 * GB, minFreeBytes: GB };

test('the disk is full when the free space above the minimum, and in the file, is used', () => {
  const forecast = forecastFull(GROWTH, DISK, FOREVER);
  expect(forecast).toEqual({
    ...{ days: 7, rowsPerDay: 1e6, bytesPerDay: 0.2 * GB, finalBytes: undefined },
    fullInSeconds: (9.5 / 0.2) * 86_400,
  });
  expect(forecastFull(GROWTH, { ...DISK, freeBytes: GB }, FOREVER).fullInSeconds).toBe(0);
});

test('it is never full without rows, nor within 100 years with few', () => {
  for (const rowsPerDay of [0, 1]) {
    expect(forecastFull({ ...GROWTH, rowsPerDay }, DISK, FOREVER).fullInSeconds).toBeUndefined();
  }
});

test('with retention for all rows, the file stops growing once it has the longest one', () => {
  const rules = [{ kind: 'metric', name: 'load', seconds: 60 * 86_400 } as const];
  // 57.5 more days fit: 47.5 in free space, 10 are used
  const short: Retention = { seconds: 30 * 86_400, rules };
  const fits = { ...GROWTH, usedBytes: 2.5 * GB };
  expect(forecastFull(fits, DISK, short)).toMatchObject({ finalBytes: 12 * GB, fullInSeconds: undefined });
  expect(forecastFull(GROWTH, DISK, short)).toMatchObject({ finalBytes: 12 * GB, fullInSeconds: 4_104_000 });
  const off = { seconds: 30 * 86_400, rules: [{ kind: 'metric', name: 'load', seconds: undefined } as const] };
  expect(forecastFull(fits, DISK, off)).toMatchObject({ finalBytes: undefined, fullInSeconds: 4_104_000 });
});
