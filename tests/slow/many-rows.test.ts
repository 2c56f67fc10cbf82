import { expect, test } from 'bun:test';
import type { Kind } from '../../src/records.ts';
import type { DeletionFilter } from '../../src/storage/deletion-list.ts';
import { runJob } from '../../src/storage/job.ts';
import { generator } from '../query/random-data.ts';
import * as reference from '../query/reference-queries.ts';
import { type NewRow, type Query, stepsOf, TestDatabase } from '../query/test-database.ts';

/*
 * Compares the query engine with the reference implementation on enough rows for several seals and merges.
 */

const SECOND = 1e6;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;

const NAMES = ['load time', 'größe/π'];

const MANY_FROM = Date.parse('2026-03-20T00:00:00Z') * 1000;

/** Returns rows over two weeks, mostly in time order, with some late and some very late rows. */
function manyRows(count: number, seed: number): NewRow[] {
  const random = generator(seed);
  return Array.from({ length: count }, (_, i) => ({
    kind: random(3) === 0 ? 'analytics' : 'metric',
    user: `user ${random(50) * random(20)}`,
    name: NAMES[random(2)] as string,
    label: `label ${random(30) + random(30)}`,
    time: MANY_FROM + Math.floor((i / count) * 14 * DAY) - (random(20) === 0 ? random(14) * DAY : random(1e9)),
    value: random(2 ** 30) / 64 - 2 ** 22,
  }));
}

const MANY_QUERIES = ([undefined, 'user 12', 'user 0'] as const).flatMap((queryUser): Query[] => {
  const base = {
    user: queryUser,
    from: undefined,
    to: undefined,

    top: undefined,
    zone: 'Europe/Berlin',
  };
  const day = { count: 1, unit: 'day' } as const;
  const hours = { count: 6, unit: 'hour' } as const;
  const noon = MANY_FROM + 3.5 * DAY;
  return (['series', 'counts'] as const).flatMap((run): Query[] => [
    { run, ...base, name: NAMES[0] as string, interval: day },
    { run, ...base, name: NAMES[1] as string, interval: undefined, top: 5 },
    { run, ...base, name: NAMES[0] as string, interval: hours, from: noon, to: noon + 4 * DAY, top: 3 },
    {
      run,
      ...base,
      name: NAMES[0] as string,
      interval: hours,
      to: noon,
      labels: { anyOf: ['label 30'], noneOf: [], containsAny: [] },
    },
    { run: 'names', kind: run === 'series' ? 'metric' : 'analytics', user: queryUser },
    {
      run: 'funnel',
      ...base,
      type: NAMES[0],
      steps: stepsOf(NAMES[0] as string, 'label 20', 'label 21', 'label 20'),
      within: 86_400,
    },
    {
      run: 'funnel',
      ...base,
      type: undefined,
      steps: [
        { step: 'any', type: NAMES[0] as string, dataIndex: undefined },
        ...stepsOf(NAMES[1] as string, 'label 20', 'label 21'),
      ],
      within: 3600,
    },
    { run: 'activity', ...base, interval: hours, top: run === 'series' ? 10 : 1 },
    { run: 'activity', ...base, interval: day, from: noon, to: noon + 4 * DAY, top: 1 },
    {
      run: 'retention',
      ...base,
      type: run === 'series' ? NAMES[0] : undefined,
      step: stepsOf(NAMES[0] as string, 'label 20')[0],
      returnStep: undefined,
      period: 'day',
      periods: 14,
    },
    {
      run: 'retention',
      ...base,
      type: undefined,
      step: stepsOf(NAMES[1] as string, 'label 30')[0],
      returnStep: stepsOf(NAMES[0] as string, 'label 31')[0],
      period: 'day',
      periods: 3,
      to: noon,
    },
  ]);
});

/** Returns the results of all {@link MANY_QUERIES}, as sent. */
function resultsOf(database: TestDatabase): string[] {
  return MANY_QUERIES.map((query) => database.runQuery(query));
}

test('counts every row exactly once across several flushes and merges', async () => {
  const database = new TestDatabase();
  const rows = manyRows(140_000, 1);
  for (let i = 0; i < rows.length; i += 10_000) {
    await database.record(rows.slice(i, i + 10_000));
    if (i % 40_000 === 0) database.check(MANY_QUERIES[i / 40_000] as Query);
  }
  for (const query of MANY_QUERIES) database.check(query);
  const before = resultsOf(database);
  database.restart({ flushed: false });
  expect(resultsOf(database)).toEqual(before);
  runJob(database.engine.maintenance.rebuild());
  expect(resultsOf(database)).toEqual(before);
  database.restart({ flushed: true });
  expect(resultsOf(database)).toEqual(before);
  database.close();
});

test('returns the same bytes after an erasure as a log that never contained the user', async () => {
  const [database, databaseWithoutUser] = [new TestDatabase(), new TestDatabase()];
  const rows = manyRows(75_000, 2);
  for (let i = 0; i < rows.length; i += 25_000) {
    const part = rows.slice(i, i + 25_000);
    await database.record(part);
    await databaseWithoutUser.record(part.filter(({ user: recordedBy }) => recordedBy !== 'user 12'));
    if (i === 0) resultsOf(database);
  }
  const expected = resultsOf(databaseWithoutUser);
  expect(resultsOf(database)).not.toEqual(expected);
  database.erase('user 12');
  expect(resultsOf(database)).toEqual(expected);
  database.erase('user 12');
  database.restart({ flushed: false });
  expect(resultsOf(database)).toEqual(expected);
  runJob(database.engine.maintenance.rebuild());
  expect(resultsOf(database)).toEqual(expected);
  database.close();
  databaseWithoutUser.close();
});

test('returns the same bytes after a deletion as a log that never contained the rows', async () => {
  const [database, databaseWithout] = [new TestDatabase(), new TestDatabase()];
  const rows = manyRows(170_000, 4).map((row, i) => (i % 8 === 0 ? row : { ...row, name: NAMES[0] as string }));
  const noon = MANY_FROM + 3.5 * DAY;
  const everyone = { user: undefined, name: NAMES[0] as string, from: undefined, to: undefined };
  const range = { ...everyone, from: noon, to: noon + 5 * DAY };
  const labels = { ...everyone, labels: { anyOf: ['label 20', 'label 31'], noneOf: [], containsAny: [] } };
  const ofUser = { ...everyone, user: 'user 12', name: NAMES[1] as string };
  for (let i = 0; i < rows.length; i += 25_000) {
    const part = rows.slice(i, i + 25_000);
    await database.record(part);
    const kept = part.filter(({ kind, user: recordedBy, name: rowName, label: rowLabel, time }) => {
      if (rowName === NAMES[1]) return recordedBy !== 'user 12';
      if (kind === 'analytics') return !labels.labels.anyOf.includes(rowLabel);
      return time < range.from || time >= range.to;
    });
    await databaseWithout.record(kept);
    if (i === 0) resultsOf(database);
  }
  const expected = resultsOf(databaseWithout);
  expect(resultsOf(database)).not.toEqual(expected);
  const maintain = (run: 'delete' | 'countMatching', kind: Kind, filter: DeletionFilter): number =>
    runJob(database.engine.maintenance[run]({ kind, filter }));
  for (const [kind, filter] of [
    ['metric', range],
    ['analytics', labels],
    ['metric', ofUser],
    ['analytics', ofUser],
  ] as const) {
    const count = maintain('countMatching', kind, filter);
    expect(count).toBe(reference.matching(database.rows, kind, filter).length);
    expect(maintain('delete', kind, filter)).toBe(count);
    expect(maintain('delete', kind, filter)).toBe(0);
  }
  expect(resultsOf(database)).toEqual(expected);
  database.restart({ flushed: false });
  expect(resultsOf(database)).toEqual(expected);
  runJob(database.engine.maintenance.rebuild());
  expect(resultsOf(database)).toEqual(expected);
  database.close();
  databaseWithout.close();
});

test('resumes from the chunks that a previous reader flushed', async () => {
  const database = new TestDatabase();
  const rows = manyRows(3000, 3);
  const query = MANY_QUERIES[0] as Query;
  for (let i = 0; i < 10; i++) {
    await database.record(rows.slice(i * 300, i * 300 + 300));
    database.check(query);
    database.restart({ flushed: i % 3 !== 0 });
    database.check(query);
    // ranges that start at the last row, end just before the first row, and end just after it
    const times = database.rows.filter((row) => row.kind === 'metric' && row.name === NAMES[0]).map(({ time }) => time);
    database.check({ ...query, from: Math.max(...times) } as Query);
    database.check({ ...query, to: Math.min(...times) } as Query);
    database.check({ ...query, to: Math.min(...times) + 1 } as Query);
  }
  database.close();
});

test('returns new rows that were merged into a chunk after it was queried', async () => {
  const database = new TestDatabase();
  // rows of one series that fill a memtable: the second batch is merged with the first
  const rows = manyRows(65_536, 4).map((row) => ({ ...row, kind: 'metric', name: NAMES[0] as string }) as const);
  for (let i = 0; i < 2; i++) {
    await database.record(rows);
    database.check(MANY_QUERIES[0] as Query);
  }
  database.close();
});
