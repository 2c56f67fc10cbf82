import { expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import type { LogRecord } from '../../src/records.ts';
import { finishOverwriting } from '../../src/storage/blanking.ts';
import { countMatching, deleteRecords, finishDeletions } from '../../src/storage/deletion.ts';
import type { DeletionFilter } from '../../src/storage/deletion-list.ts';
import { eraseUser, finishErasures } from '../../src/storage/erasure.ts';
import { type Job, runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { nextStep, sampleOf } from '../harness/sampling.ts';
import { close, filledDatabases, storeRows } from '../storage/filled.ts';
import { event, FIRST_SEQ, metric, records } from '../storage/log.ts';

const openFilled = filledDatabases();

const ALL = { user: undefined, from: undefined, to: undefined };

/** Metrics of two names, some with labels of their own, and events. */
const mixed = records(5_000, (seq, i) =>
  i % 2 === 0
    ? metric(seq, { metricName: i % 4 === 0 ? 'Mark' : 'load', dataString: i % 5 === 0 ? `Mark ${i}` : '/' })
    : event(seq, { userId: `u ${i % 7}` }),
);

/** Deletions of {@link mixed}: of a whole series, and of some of its rows. */
const DELETIONS: [filter: DeletionFilter, isDeleted: (record: LogRecord) => boolean][] = [
  [{ ...ALL, name: 'Mark' }, (record) => record.kind === 'metric' && record.metricName === 'Mark'],
  [
    { ...ALL, name: 'load', labels: { anyOf: [], noneOf: [], containsAny: ['Mark'] } },
    (record) => record.kind === 'metric' && record.metricName === 'load' && record.dataString !== '/',
  ],
];

/** Returns the numbers of rows by name, once all are applied; and the texts that contain the mark. */
function inspect(reader: ReaderStorage) {
  const { client, store } = reader;
  runJob(store.catchUp());
  const texts = (query: string) => client.query<{ text: string }, []>(query).all();
  return {
    rows: (['metric', 'analytics'] as const).flatMap((kind) =>
      store.extents(kind).map(({ series, extent }) => [series.name, extent.rows]),
    ),
    labels: texts("SELECT label AS text FROM labels WHERE label LIKE 'Mark%'").length,
    names: texts("SELECT name AS text FROM series WHERE name = 'Mark'").length,
    unfinished: texts('SELECT filter AS text FROM deletions WHERE filter IS NOT NULL').length,
    pending: reader.deletions.pending(),
  };
}

function expectedState(kept: readonly LogRecord[]): ReturnType<typeof inspect> {
  const metrics = kept.filter((record) => record.kind === 'metric');
  const ofName = (name: string) => metrics.filter(({ metricName }) => metricName === name);
  const rows = ['Mark', 'load'].flatMap((name) => (ofName(name).length > 0 ? [[name, ofName(name).length]] : []));
  const events = kept.length - metrics.length;
  return {
    rows: [...rows, ...(events > 0 ? [['click', events]] : [])],
    labels: new Set(
      metrics.filter(({ dataString }) => dataString !== '/').map((one) => one.metricName + one.dataString),
    ).size,
    names: ofName('Mark').length > 0 ? 1 : 0,
    unfinished: 0,
    pending: 0,
  };
}

/** Expects that another process finds no problem in the database, and as many rows as the ledger counts. */
function expectVerified(path: string): void {
  const other = openReader(path);
  expect(verifyDatabase(other.client).problems).toEqual([]);
  other.close();
}

/** Runs up to this many steps of a job. Returns whether it is complete. */
function runSteps(job: Job<unknown>, steps: number): boolean {
  for (let step = 0; step < steps; step++) if (job.next().done) return true;
  return false;
}

test.each(DELETIONS.map((deletion, i) => [i, ...deletion] as const))(
  'deletion %p is finished by the next start when it is interrupted after any of its steps, and verifies at each',
  async (_i, filter, isDeleted) => {
    const kept = expectedState(mixed.filter((record) => !isDeleted(record)));
    const all = expectedState(mixed);
    let isComplete = false;
    for (let steps = 1; !isComplete; steps = nextStep(steps)) {
      const opened = await openFilled(mixed);
      isComplete = runSteps(deleteRecords(opened.reader, 'metric', filter), steps);
      const hasBegun = opened.reader.client.query('SELECT 1 FROM deletions').get() !== null;
      opened.reader.close();
      expectVerified(opened.path);
      const again = openReader(opened.path);
      if (steps % 2 === 0) runJob(again.store.catchUp()); // a query before the deletion is finished
      runJob(finishDeletions(again));
      if (hasBegun) expect(inspect(again)).toEqual(kept);
      else expect(inspect(again).rows).toEqual(all.rows);
      expectVerified(opened.path);
      again.close();
      opened.storage.close();
    }
  },
  180_000, // opens and verifies several dozen databases
);

test('is finished after a rebuild that came between, complete or interrupted', async () => {
  for (const [filter, isDeleted] of DELETIONS) {
    for (const rebuildSteps of sampleOf([1, 3, 6, 1_000])) {
      let isComplete = false;
      for (let steps = 3; !isComplete; steps = nextStep(steps)) {
        const opened = await openFilled(mixed);
        isComplete = runSteps(deleteRecords(opened.reader, 'metric', filter), steps);
        const hasBegun = opened.reader.client.query('SELECT 1 FROM deletions').get() !== null;
        runSteps(opened.reader.store.rebuild(), rebuildSteps);
        opened.reader.close();
        const again = openReader(opened.path);
        runJob(again.store.finishRebuild());
        // queries apply some of the rows before the deletion is finished
        if (steps % 2 === 1) runSteps(again.store.catchUp(), 2);
        runJob(finishDeletions(again));
        expect(inspect(again).rows).toEqual(
          expectedState(mixed.filter((record) => !hasBegun || !isDeleted(record))).rows,
        );
        expectVerified(opened.path);
        runJob(again.store.rebuild());
        expectVerified(opened.path);
        again.close();
        opened.storage.close();
      }
    }
  }
}, 120_000);

test('removes the user, the names and the labels of an erasure and a deletion that were both interrupted', async () => {
  const filter = { ...ALL, name: 'click', user: 'u 1' };
  const kept = mixed.filter(({ userId, kind }) => userId !== 'ada' && (userId !== 'u 1' || kind === 'metric'));
  const runUntilBegun = (reader: ReaderStorage, job: Job<unknown>, table: string, steps: number) => {
    while (reader.client.query(`SELECT 1 FROM ${table}`).get() === null) job.next();
    runSteps(job, steps);
  };
  for (const [erasureSteps, deletionSteps] of [
    [0, 0],
    [2, 1_000],
    [1_000, 2],
  ] as const) {
    for (const isErasedFirst of [true, false]) {
      const opened = await openFilled(mixed);
      const { reader } = opened;
      const erase = () => runUntilBegun(reader, eraseUser(reader, 'ada'), 'erasures', erasureSteps);
      if (isErasedFirst) erase();
      runUntilBegun(reader, deleteRecords(reader, 'analytics', filter), 'deletions', deletionSteps);
      if (!isErasedFirst) erase();
      reader.close();
      const again = openReader(opened.path);
      runJob(finishErasures(again));
      runJob(finishDeletions(again));
      expect(inspect(again)).toEqual(expectedState(kept));
      expectVerified(opened.path);
      again.close();
      opened.storage.close();
    }
  }
});

test('keeps rows recorded while it runs, while their chunks are merged with those of the deleted rows', async () => {
  const label = (i: number) => (i % 3 === 0 ? 'gone' : '/');
  for (const delay of sampleOf([0, 2, 4, 5])) {
    const opened = await openFilled(records(60_000, (seq, i) => metric(seq, { dataString: label(i) })));
    const { path, storage, reader } = opened;
    const labels = { anyOf: ['gone'], noneOf: [], containsAny: [] };
    const job = deleteRecords(reader, 'metric', { ...ALL, name: 'load', labels });
    const count = (query: string) => reader.client.query<{ n: number }, []>(query).get()?.n;
    while (count("SELECT count(*) AS n FROM metrics WHERE user_id = ''") !== 20_000) job.next();
    runSteps(job, delay);
    const chunks = () => count('SELECT group_concat(id) AS n FROM chunks WHERE rows > 0');
    const before = chunks();
    // more rows than the memtable has room for, so that they are sealed, and merged with the only chunk
    const later = records(132_000, (seq, i) => metric(seq + 100_000, { dataString: label(i) }));
    await storeRows(storage, later);
    runJob(reader.store.catchUp()); // as a query does
    expect(chunks()).not.toBe(before);
    expect(reader.deletions.unfinished()).toHaveLength(1);
    runJob(job);
    expect(inspect(reader).rows).toEqual([['load', 40_000 + later.length]]);
    expectVerified(path);
    close(opened);
  }
}, 120_000);

test('gives a name that is recorded again a new series', async () => {
  const opened = await openFilled(records(100, (seq) => metric(seq)));
  const { path, storage, reader } = opened;
  for (let round = 1; round < 4; round++) {
    expect(runJob(deleteRecords(reader, 'metric', { ...ALL, name: 'load' }))).toBe(100);
    expect(inspect(reader).rows).toEqual([]);
    expect(runJob(deleteRecords(reader, 'metric', { ...ALL, name: 'load' }))).toBe(0);
    await storeRows(
      storage,
      records(100, (seq) => metric(seq + 1_000 * round)),
    );
    expect(inspect(reader).rows).toEqual([['load', 100]]);
    if (round === 2) runJob(reader.store.seal());
    expectVerified(path);
  }
  close(opened);
});

test('also removes a series whose name was recorded again before the removal was interrupted', async () => {
  const opened = await openFilled(records(100, (seq) => metric(seq)));
  const { storage, reader } = opened;
  const job = deleteRecords(reader, 'metric', { ...ALL, name: 'load' });
  let recorded = 0;
  while (recorded === 0 && !job.next().done) {
    if (reader.deletions.unfinished().length === 0 || reader.store.find('metric', 'load') !== undefined) continue;
    // after the name was removed from memory, and before it is removed from the database
    await storeRows(storage, [metric(FIRST_SEQ + 1_000 + recorded++)]);
    runJob(reader.store.catchUp());
    runJob(reader.store.seal());
  }
  expect(recorded).toBeGreaterThan(0);
  reader.close();
  const again = openReader(opened.path);
  runJob(finishDeletions(again));
  expect(inspect(again).rows).toEqual([['load', recorded]]);
  expect(runJob(deleteRecords(again, 'metric', { ...ALL, name: 'load' }))).toBe(recorded);
  expect(again.client.query("SELECT 1 FROM series WHERE name = 'load'").get()).toBeNull();
  again.close();
  opened.storage.close();
});

test('counts matching rows in a dry run and writes nothing', async () => {
  const opened = await openFilled(mixed);
  const { reader } = opened;
  const changes = () => reader.client.query<{ n: number }, []>('SELECT total_changes() AS n').get()?.n;
  const before = changes();
  for (const [filter, isDeleted] of DELETIONS) {
    expect(runJob(countMatching(reader.client, 'metric', filter))).toBe(mixed.filter(isDeleted).length);
  }
  expect(changes()).toBe(before);
  expect(inspect(reader)).toMatchObject({ unfinished: 0, pending: 0 });
  close(opened);
});

test('blanks rows with large data in transactions of a few megabytes each', async () => {
  const data = JSON.stringify({ text: 'x'.repeat(1_000_000) });
  const opened = await openFilled(records(60, (seq) => event(seq, { data })));
  const { path, reader } = opened;
  let largestBytes = 0;
  const measureAndTruncate = () => {
    largestBytes = Math.max(largestBytes, statSync(`${path}-wal`).size);
    reader.client.query('PRAGMA wal_checkpoint(TRUNCATE)').get();
  };
  measureAndTruncate();
  largestBytes = 0;
  const properties = [{ path: ['text'], anyOf: [], noneOf: [], containsAny: ['x'] }];
  let steps = 0;
  for (const _ of deleteRecords(reader, 'analytics', { ...ALL, name: 'click', properties })) {
    measureAndTruncate();
    steps++;
  }
  expect(steps).toBeGreaterThan(15);
  expect(largestBytes).toBeGreaterThan(0);
  expect(largestBytes).toBeLessThan(16 * 1024 * 1024);
  expect(inspect(reader).rows).toEqual([]);
  close(opened);
});

test('stays pending while another connection reads an older snapshot, and is overwritten after that', async () => {
  const opened = await openFilled(mixed);
  const { path, reader } = opened;
  const snapshot = openReader(path);
  snapshot.client.run('BEGIN');
  snapshot.client.query('SELECT count(*) FROM metrics').get();
  runJob(deleteRecords(reader, 'metric', { ...ALL, name: 'Mark' }));
  expect(reader.deletions.pending()).toBe(1);
  finishOverwriting(reader);
  expect(reader.deletions.pending()).toBe(1);
  snapshot.client.run('COMMIT');
  finishOverwriting(reader);
  expect(reader.deletions.pending()).toBe(0);
  snapshot.close();
  close(opened);
});
