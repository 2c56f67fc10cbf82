import { expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import type { Retention } from '../../src/formats/retention.ts';
import type { LogRecord } from '../../src/records.ts';
import { beginRebuild } from '../../src/storage/columns/rebuild.ts';
import { deleteRecords, finishDeletions } from '../../src/storage/deletion.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { createImporter } from '../../src/storage/import.ts';
import { addImportedRows } from '../../src/storage/imported-rows.ts';
import { INTERRUPTIBLE, type Job, runJob } from '../../src/storage/job.ts';
import { hasMovedCells } from '../../src/storage/moved-cells.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { countExpired, pruneRecords } from '../../src/storage/retention.ts';
import { createSinkStore } from '../../src/storage/sink-store.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { close, filledDatabases, storeRows } from '../storage/filled.ts';
import { event, FIRST_SEQ, metric, records } from '../storage/log.ts';

const openFilled = filledDatabases();

const DAY_US = 86_400 * 1e6;
const NOW = Date.UTC(2026, 6, 1);
/** Returns the time this many days before now, in microseconds since 1970. */
const daysAgo = (days: number) => NOW * 1000 - days * DAY_US;

/** Records of the last 100 days, in any order of time, some of them with labels of their own. */
const history = (count: number, shift = 0) =>
  records(count, (seq, i) => {
    const stamp = { userId: `u ${i % 7}`, happenedAt: daysAgo((i * 37) % 100) };
    const place = seq + shift;
    if (i % 3 === 0) return event(place, { ...stamp, type: i % 2 === 0 ? 'click' : 'a,b=c', dataIndex: `l ${i % 50}` });
    return metric(place, {
      ...stamp,
      metricName: i % 5 === 0 ? 'rare' : 'load',
      dataString: i % 11 === 0 ? `l ${i}` : '/',
    });
  });

const RETENTION: Retention = {
  seconds: 90 * 86_400,
  rules: [
    { kind: 'metric', name: 'load', seconds: 30 * 86_400 },
    { kind: 'analytics', name: 'a,b=c', seconds: undefined },
  ],
};
const DAYS_KEPT: Readonly<Record<string, number>> = { load: 30, 'a,b=c': 1e6 };
const nameOf = (record: LogRecord) => (record.kind === 'metric' ? record.metricName : record.type);
const isExpired = (record: LogRecord) => record.happenedAt < daysAgo(DAYS_KEPT[nameOf(record)] ?? 90);
const request = { retention: RETENTION, now: NOW };

/** Returns the keys of the stored rows, and those in the column store. */
function stored(reader: ReaderStorage) {
  const seqs = (sql: string) =>
    reader.client
      .query<{ seq: number }, []>(sql)
      .all()
      .map(({ seq }) => seq);
  runJob(reader.store.catchUp());
  const labels = reader.client.query<{ label: string }, []>('SELECT label FROM labels WHERE label IS NOT NULL').all();
  return {
    rows: [
      ...seqs("SELECT seq FROM metrics WHERE user_id <> '' ORDER BY seq"),
      ...seqs("SELECT seq FROM analytics WHERE user_id <> '' ORDER BY seq"),
    ].sort(),
    inColumns: (['metric', 'analytics'] as const)
      .flatMap((kind) => reader.store.extents(kind).map(({ series, extent }) => [series.name, extent.rows]))
      .sort(),
    labels: new Set(labels.map(({ label }) => label)).size,
  };
}

function expected(kept: readonly LogRecord[], sealed: readonly LogRecord[] = kept) {
  const names = [...new Set(kept.map(nameOf))];
  const labelOf = (record: LogRecord) => (record.kind === 'metric' ? record.dataString : record.dataIndex);
  return {
    rows: kept.map(({ seq }) => seq).sort(),
    inColumns: names.map((name) => [name, kept.filter((record) => nameOf(record) === name).length]).sort(),
    labels: new Set(sealed.map(labelOf)).size,
  };
}

function expectVerified(path: string): void {
  const other = openReader(path);
  expect(verifyDatabase(other.client).problems).toEqual([]);
  other.close();
}

/**
 * Prunes, and runs another job to its end between two steps, at the safe point `at`; after the prune if there are fewer.
 *
 * @returns whether there were fewer
 */
function pruneBeside(reader: ReaderStorage, at: number, start: (reader: ReaderStorage) => Job<unknown>): boolean {
  const job: Job<unknown> = pruneRecords(reader, request);
  let safePoints = 0;
  for (let step = job.next(); !step.done; step = job.next()) {
    if (step.value === INTERRUPTIBLE && safePoints++ === at) runJob(start(reader));
  }
  const isComplete = safePoints <= at;
  if (isComplete) runJob(start(reader));
  return isComplete;
}

test('prunes each name by its rule, with its labels and columns, and as the dry run says', async () => {
  const all = history(20_000);
  const database = await openFilled(all);
  const { reader, path } = database;
  const planned = runJob(countExpired(reader, request));
  expect(stored(reader).rows).toHaveLength(all.length);
  const pruned = runJob(pruneRecords(reader, request));
  const expired = all.filter(isExpired);
  expect(pruned.rows).toEqual({
    metric: expired.filter(({ kind }) => kind === 'metric').length,
    analytics: expired.filter(({ kind }) => kind === 'analytics').length,
  });
  expect({ rows: planned.rows, bytes: planned.bytes }).toEqual({ rows: pruned.rows, bytes: pruned.bytes });
  expect(pruned.bytes).toBeGreaterThan(70 * expired.length);
  const kept = all.filter((record) => !isExpired(record));
  expect(stored(reader)).toEqual(expected(kept));
  expectVerified(path);
  expect(runJob(countExpired(reader, request)).rows).toEqual({ metric: 0, analytics: 0 });
  expect(runJob(pruneRecords(reader, request)).rows).toEqual({ metric: 0, analytics: 0 });
  expect(reader.deletions.unfinished()).toEqual([]);
  close(database);
});

test('an interrupted prune verifies after any step, and the next one completes it', async () => {
  const all = history(1_200);
  const kept = all.filter((record) => !isExpired(record));
  for (let steps = 0, isComplete = false; !isComplete; steps += 3) {
    const database = await openFilled(all);
    const job = pruneRecords(database.reader, request);
    for (let step = 0; step < steps && !isComplete; step++) isComplete = job.next().done === true;
    expectVerified(database.path);
    database.reader.close();
    const reader = openReader(database.path);
    runJob(finishDeletions(reader));
    runJob(pruneRecords(reader, request));
    expect(stored(reader)).toEqual(expected(kept));
    expectVerified(database.path);
    reader.close();
    database.storage.close();
  }
});

test.each([
  ['an erasure', (reader: ReaderStorage) => eraseUser(reader, 'u 3'), (record: LogRecord) => record.userId === 'u 3'],
  [
    'a deletion of the same name',
    (reader: ReaderStorage) =>
      deleteRecords(reader, 'metric', { user: 'u 3', name: 'load', from: undefined, to: undefined }),
    (record: LogRecord) => record.userId === 'u 3' && nameOf(record) === 'load',
  ],
  ['a rebuild', ({ store }: ReaderStorage) => store.rebuild(), () => false],
] as const)('finishes when %s runs between any two of its steps', async (_what, start, isRemoved) => {
  const all = history(1_200);
  const kept = all.filter((record) => !isExpired(record) && !isRemoved(record));
  for (let at = 0, isComplete = false; !isComplete; at++) {
    const database = await openFilled(all);
    const { reader } = database;
    isComplete = pruneBeside(reader, at, start);
    expect(stored(reader).rows).toEqual(expected(kept).rows);
    expect(stored(reader).inColumns).toEqual(expected(kept).inColumns);
    expect(reader.deletions.unfinished()).toEqual([]);
    expectVerified(database.path);
    close(database);
  }
});

test('a dry run counts each row once when chunks are sealed and merged between any two of its steps', async () => {
  const all = history(6_000);
  const later = history(300, 10_000);
  const expired = all.filter(isExpired);
  const rows = {
    metric: expired.filter(({ kind }) => kind === 'metric').length,
    analytics: expired.filter(({ kind }) => kind === 'analytics').length,
  };
  for (let at = 0, isComplete = false; !isComplete; at++) {
    const database = await openFilled(all.slice(0, 4_000));
    const { reader, storage } = database;
    const { store } = reader;
    runJob(store.catchUp());
    runJob(store.seal());
    await storeRows(storage, all.slice(4_000, 5_000));
    runJob(store.catchUp());
    runJob(store.seal());
    await storeRows(storage, all.slice(5_000));
    runJob(store.catchUp());
    const job = countExpired(reader, request);
    let step = job.next();
    for (let steps = 0; steps < at && !step.done; steps++) step = job.next();
    isComplete = step.done === true;
    if (!isComplete) {
      await storeRows(storage, later);
      runJob(store.seal());
    }
    const counted = step.done ? step.value : runJob(job);
    expect(counted.rows).toEqual(rows);
    close(database);
  }
});

test.each([
  ['an erasure', (reader: ReaderStorage) => eraseUser(reader, 'u')],
  [
    'a deletion',
    (reader: ReaderStorage) =>
      deleteRecords(reader, 'metric', { user: 'u', name: 'load', from: undefined, to: undefined }),
  ],
] as const)('removes a label whose last row %s removes between any two of its steps', async (_what, start) => {
  const make = (userId: string, dataString: string, days: number) => ({
    userId,
    dataString,
    happenedAt: daysAgo(days),
  });
  const rows = [
    ...Array.from({ length: 40 }, () => make('x', 'common', 1)),
    make('v', 'secret', 99),
    make('u', 'secret', 1),
    // the next chunk, too small to be merged with the first
    ...Array.from({ length: 9 }, () => make('x', 'common', 1)),
    make('v', 'secret', 99),
  ];
  const all = records(rows.length, (seq, i) => metric(seq, rows[i]));
  for (let at = 0, isComplete = false; !isComplete; at++) {
    const database = await openFilled(all.slice(0, 42));
    const { reader, storage, path } = database;
    runJob(reader.store.catchUp());
    runJob(reader.store.seal());
    await storeRows(storage, all.slice(42));
    runJob(reader.store.catchUp());
    runJob(reader.store.seal());
    isComplete = pruneBeside(reader, at, start);
    expect(reader.client.query('SELECT label FROM labels WHERE label IS NOT NULL').all()).toEqual([
      { label: 'common' },
    ]);
    expectVerified(path);
    close(database);
  }
});

test('no column of a property is stale once the prune of its name is finished', async () => {
  const { reader, ...database } = await openFilled(
    records(400, (seq, i) => event(seq, { type: `t ${i % 2}`, happenedAt: daysAgo(i % 4 === 0 ? 1 : 99) })),
  );
  const { client, store, deletions } = reader;
  runJob(store.catchUp());
  runJob(store.seal());
  for (const series of store.seriesOf('analytics')) {
    for (const { read, ...outline } of store.outlines(series)) {
      const source = { series, ...outline, chunk: read() };
      for (const _part of store.readProperties(source, { paths: [['n']], isStored: true, check: () => {} }));
    }
  }
  runJob(store.buildProperties());
  const count = (where: string) =>
    client.query<{ n: number }, []>(`SELECT count(*) AS n FROM property_columns WHERE ${where}`).get()?.n;
  const stale = `chunk_id > 0 AND chunk_checksum IS NOT (SELECT checksum FROM chunks WHERE id = chunk_id)`;
  expect(count('chunk_id > 0')).toBe(2);
  let wasStale = false;
  const job = pruneRecords(reader, request);
  for (let step = job.next(); !step.done; step = job.next()) {
    wasStale ||= count(stale) !== 0;
    if (deletions.unfinished().length === 0) expect(count(stale)).toBe(0);
  }
  expect(wasStale).toBe(true);
  close({ reader, storage: database.storage });
});

test('a small file remains marked as having old copies of rows until its compaction is complete', async () => {
  const database = await openFilled(history(500));
  const { reader } = database;
  const { client, deletions } = reader;
  const job = pruneRecords(reader, request);
  const reading = client.prepare('SELECT name FROM column_state').iterate();
  reading.next(); // VACUUM fails while a statement is being read
  expect(() => runJob(job)).toThrow('VACUUM');
  expect(hasMovedCells(client)).toBe(true);
  expect(deletions.isOverwritingDue()).toBe(true);
  reading.return?.();
  runJob(finishDeletions(reader));
  expect(hasMovedCells(client)).toBe(false);
  expect(deletions.pending()).toBe(0);
  close(database);
});

test('keeps rows that are recorded meanwhile, even with old timestamps, until the next prune', async () => {
  const first = history(3_000);
  const second = history(3_000, 10_000);
  const database = await openFilled(first);
  const { reader, storage, path } = database;
  const job = pruneRecords(reader, request);
  let isStored = false;
  for (let step = job.next(); !step.done; step = job.next()) {
    if (step.value !== INTERRUPTIBLE || isStored) continue;
    isStored = true;
    await storeRows(storage, second);
  }
  expectVerified(path);
  runJob(pruneRecords(reader, request));
  const kept = [...first, ...second].filter((record) => !isExpired(record));
  expect(stored(reader).rows).toEqual(expected(kept).rows);
  expect(statSync(path).size).toBeGreaterThan(0);
  expectVerified(path);
  close(database);
});

test('keeps a bounded list of finished deletions', async () => {
  const database = await openFilled(
    records(1_100, (seq, i) => metric(seq, { metricName: `m ${i}`, happenedAt: daysAgo(99) })),
  );
  const { reader } = database;
  runJob(pruneRecords(reader, request));
  expect(reader.client.query('SELECT count(*) AS n FROM deletions').get()).toEqual({ n: 1_000 });
  expect(FIRST_SEQ).toBeGreaterThan(0);
  close(database);
});

test('rows that a sink has not received are kept, until they may be skipped, which is counted', async () => {
  const all = history(3_000);
  const database = await openFilled(all);
  const { reader, path } = database;
  const store = createSinkStore(reader.client, Date.now);
  const cursor = all[2_000]?.seq ?? 0;
  const { id, name } = store.register('nats://127.0.0.1/rawlog');
  const deadLetters = all
    .filter((record) => record.kind === 'metric' && record.seq <= cursor)
    .map(({ kind, seq }) => ({ kind, seq, reason: 'too large', isPostponed: false }));
  store.save(id, { cursors: { metric: cursor, analytics: cursor }, importId: 0 }, deadLetters);
  expect(store.counts(id).deadLetters).toBe(deadLetters.length);
  const sinks = [{ name, cursors: { metric: cursor, analytics: cursor }, importId: 0 }];
  const isReceived = ({ seq }: LogRecord) => seq <= cursor;
  const waiting = { ...request, delivered: { sinks, isAwaited: true } };
  const planned = runJob(countExpired(reader, waiting));
  const pruned = runJob(pruneRecords(reader, waiting));
  expect(pruned).toMatchObject({ rows: planned.rows, bytes: planned.bytes, skipped: [] });
  const kept = all.filter((record) => !isExpired(record) || !isReceived(record));
  expect(stored(reader).rows).toEqual(expected(kept).rows);
  expect(store.counts(id).deadLetters).toBeLessThan(deadLetters.length);
  expect(store.counts(id).deadLetters).toBe(store.deadLetters(id).length);
  expectVerified(path);
  const deletions = () => reader.client.query('SELECT max(id) AS last FROM deletions').get();
  const before = deletions();
  expect(runJob(pruneRecords(reader, waiting)).rows).toEqual({ metric: 0, analytics: 0 });
  expect(deletions()).toEqual(before); // nothing was begun in vain

  const forced = runJob(pruneRecords(reader, { ...request, delivered: { sinks, isAwaited: false } }));
  const skipped = all.filter((record) => isExpired(record) && !isReceived(record)).length;
  expect(skipped).toBeGreaterThan(100);
  expect(forced.skipped).toEqual([{ sink: name, rows: skipped }]);
  expect(store.find(name)?.skipped).toBe(skipped);
  expect(stored(reader)).toEqual(expected(all.filter((record) => !isExpired(record))));
  expectVerified(path);
  close(database);
});

test('imported rows that a sink has not received are kept, although they lie behind its cursors', async () => {
  const all = history(3_000);
  const database = await openFilled(all);
  const { reader } = database;
  const { name } = createSinkStore(reader.client, Date.now).register('nats://127.0.0.1/rawlog');
  const cursors = { metric: all.at(-1)?.seq ?? 0, analytics: all.at(-1)?.seq ?? 0 };
  const imported = all.filter(({ kind }, i) => kind === 'metric' && i >= 1_000 && i < 1_100).map(({ seq }) => seq);
  addImportedRows(reader.client, 'metric', imported);
  const prune = (importId: number) =>
    runJob(pruneRecords(reader, { ...request, delivered: { sinks: [{ name, cursors, importId }], isAwaited: true } }));
  prune(0);
  const isKept = ({ kind, seq }: LogRecord) => kind === 'metric' && seq >= (imported[0] ?? 0);
  expect(stored(reader).rows).toEqual(expected(all.filter((record) => !isExpired(record) || isKept(record))).rows);
  prune(1);
  expect(stored(reader)).toEqual(expected(all.filter((record) => !isExpired(record))));
  close(database);
});

test('imported rows that a sink has not received are counted when they are skipped, though they lie behind its cursor', async () => {
  const all = history(3_000);
  const database = await openFilled(all.filter((_, i) => i % 4 > 0));
  const { reader, storage, path } = database;
  const { client } = reader;
  const store = createSinkStore(client, Date.now);
  const cursors = { metric: all.at(-1)?.seq ?? 0, analytics: all.at(-1)?.seq ?? 0 };
  const behind = store.register('nats://127.0.0.1/rawlog');
  const importer = createImporter({ ...storage, isErased: () => false, onFirstStored: beginRebuild });
  const imported = all.filter((_, i) => i % 4 === 0);
  for (let rest = imported; rest.length > 0; ) rest = rest.slice(importer.store(rest).length);
  runJob(reader.store.finishRebuild());
  runJob(reader.store.catchUp());
  runJob(reader.store.seal());
  const current = store.register('nats://127.0.0.1/other');
  const sinks = [behind, current].map(({ name, importId }) => ({ name, cursors, importId }));
  const delivered = { sinks, isAwaited: false };
  const skipped = imported.filter(isExpired).length;
  expect(skipped).toBeGreaterThan(100);
  const expectedSkips = [{ sink: behind.name, rows: skipped }];
  expect(runJob(countExpired(reader, { ...request, delivered })).skipped).toEqual(expectedSkips);
  expect(runJob(pruneRecords(reader, { ...request, delivered })).skipped).toEqual(expectedSkips);
  expect(store.find(behind.name)?.skipped).toBe(skipped);
  expect(store.find(current.name)?.skipped).toBe(0);
  expectVerified(path);
  close(database);
});
