import { afterAll, describe, expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { LogRecord } from '../../src/records.ts';
import { openStorage, type Storage } from '../../src/storage/database.ts';
import { eraseUser, finishErasures, finishOverwriting } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { StorageError } from '../../src/storage/storage-error.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let databases = 0;

/** A database with rows, and a reader of it. */
async function filled(rows: readonly LogRecord[]): Promise<{ path: string; storage: Storage; reader: ReaderStorage }> {
  const path = join(folder.path, `${++databases}.db`);
  const storage = openStorage(path);
  const writer = createWriter(storage);
  for (let i = 0; i < rows.length; i += 2_000) {
    await writer.commit({
      ...NOTHING,
      records: rows.slice(i, i + 2_000),
      counts: [['stored', Math.min(2_000, rows.length - i)]],
    });
  }
  return { path, storage, reader: openReader(path) };
}

function close({ storage, reader }: { storage: Storage; reader: ReaderStorage }): void {
  reader.close();
  storage.close();
}

const rowsOf = ({ store }: ReaderStorage, name = 'load'): number => {
  const series = store.find('metric', name);
  return series ? (store.extent(series)?.rows ?? 0) : 0;
};

/** How many metrics of a user each series has in which the user has any. */
const rowsOfUser = ({ store }: ReaderStorage, user: number): number[] =>
  store.seriesWith('metric', user).flatMap((series) => {
    const rows = [...store.chunks(series)].reduce(
      (sum, { users }) => sum + users.filter((one) => one === user).length,
      0,
    );
    return rows > 0 ? [rows] : [];
  });

describe('a seal', () => {
  test('writes many large labels in transactions of a few megabytes each', async () => {
    const opened = await filled(
      records(4_000, (seq, i) => metric(seq, { dataString: `${i} ${'x'.repeat(8_000)}`, metricName: `m ${i % 7}` })),
    );
    const { path, reader } = opened;
    // each transaction starts the log again, so that its size is that of the largest
    let largest = 0;
    const checkpointed = () => {
      largest = Math.max(largest, statSync(`${path}-wal`).size);
      reader.client.query('PRAGMA wal_checkpoint(TRUNCATE)').get();
    };
    checkpointed();
    largest = 0;
    for (const job of [reader.store.catchUp(), reader.store.seal()]) {
      for (const _ of job) checkpointed();
    }
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(16 * 1024 * 1024);
    expect(reader.store.extents('metric').reduce((sum, { extent }) => sum + extent.rows, 0)).toBe(4_000);
    close(opened);
  });

  test('that breaks off after any of its transactions loses no row and counts none twice', async () => {
    const rows = records(3_000, (seq, i) => metric(seq, { metricName: `m ${i % 700}`, userId: `u ${i % 90}` }));
    for (const steps of [1, 2, 3, 4, 5, 6, 8, 12]) {
      const opened = await filled(rows);
      const { path, reader } = opened;
      runJob(reader.store.catchUp());
      const seal = reader.store.seal();
      for (let step = 0; step < steps; step++) seal.next();
      reader.close();
      const again = openReader(path);
      runJob(again.store.catchUp());
      const extents = again.store.extents('metric');
      expect(extents.length).toBe(700);
      expect(extents.reduce((sum, { extent }) => sum + extent.rows, 0)).toBe(3_000);
      again.close();
      opened.storage.close();
    }
  });

  test('keeps few chunks of a series that grows by little at a time', async () => {
    const opened = await filled([]);
    const { storage, reader } = opened;
    const writer = createWriter(storage);
    for (let i = 0; i < 200; i++) {
      const rows = Array.from({ length: 20 }, (_, k) => metric(FIRST_SEQ + i * 20 + k));
      await writer.commit({ ...NOTHING, records: rows });
      runJob(reader.store.catchUp());
      runJob(reader.store.seal());
    }
    const series = reader.store.find('metric', 'load');
    if (!series) throw new Error('no series');
    expect([...reader.store.outlines(series)].length).toBeLessThan(14); // log2(4,000) and some
    expect(rowsOf(reader)).toBe(4_000);
    close(opened);
  });
});

test('a memtable takes as much memory for 65,000 series as for one', async () => {
  const opened = await filled(records(65_000, (seq, i) => metric(seq, { metricName: `m ${i}` })));
  const before = process.memoryUsage.rss();
  runJob(opened.reader.store.catchUp());
  // a record of a series takes about 200 bytes; arrays per series would take 100 MB
  expect(process.memoryUsage.rss() - before).toBeLessThan(90 * 1024 * 1024);
  close(opened);
});

test('a chunk whose bytes were changed is reported, not counted', async () => {
  const opened = await filled(records(100, (seq) => metric(seq)));
  const { storage, reader, path } = opened;
  runJob(reader.store.catchUp());
  runJob(reader.store.seal());
  storage.client.run(`UPDATE chunks SET "values" = zeroblob(length("values")) WHERE rows > 0`);
  const again = openReader(path);
  const series = again.store.find('metric', 'load');
  if (!series) throw new Error('no series');
  let thrown: unknown;
  try {
    for (const _ of again.store.chunks(series)) {
      // read
    }
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(StorageError);
  expect((thrown as StorageError).kind).toBe('corrupt');
  again.close();
  close(opened);
});

describe('an erasure', () => {
  const mixed = records(5_000, (seq, i) =>
    i % 2 === 0
      ? metric(seq, { userId: i % 3 === 0 ? 'bob' : 'ada', dataString: i % 3 === 0 ? `bob ${i}` : '/' })
      : event(seq, { userId: i % 3 === 0 ? 'bob' : 'ada', type: i % 9 === 0 ? 'only bob' : 'click' }),
  );
  const bobs = mixed.filter(({ userId }) => userId === 'bob');
  const erased = {
    metrics: bobs.filter(({ kind }) => kind === 'metric').length,
    analytics: bobs.filter(({ kind }) => kind === 'analytics').length,
  };

  /** What is wrong with a database in which bob should be erased. */
  function remains(reader: ReaderStorage): unknown {
    const { client, store } = reader;
    runJob(store.catchUp());
    const count = (query: string) => client.query<{ n: number }, []>(query).get()?.n;
    const rows = (['metric', 'analytics'] as const).map((kind) =>
      store.extents(kind).map(({ series, extent }) => [series.name, extent.rows]),
    );
    return {
      rows,
      bob: [
        count("SELECT count(*) AS n FROM metrics WHERE user_id = 'bob'"),
        count("SELECT count(*) AS n FROM analytics WHERE user_id = 'bob'"),
        count("SELECT count(*) AS n FROM labels WHERE label LIKE 'bob%'"),
        count("SELECT count(*) AS n FROM series WHERE name LIKE '%bob%'"),
        count("SELECT count(*) AS n FROM users WHERE user_id = 'bob'"),
        count('SELECT count(*) AS n FROM erasures WHERE pending_user_id IS NOT NULL OR is_overwritten = 0'),
      ],
    };
  }
  const clean = {
    rows: [[['load', 2_500 - erased.metrics]], [['click', 2_500 - erased.analytics]]],
    bob: [0, 0, 0, 0, 0, 0],
  };

  test('removes every row, label and name of the user, whatever is sealed', async () => {
    for (const isSealed of [true, false]) {
      const opened = await filled(mixed);
      if (isSealed) {
        runJob(opened.reader.store.catchUp());
        runJob(opened.reader.store.seal());
      }
      expect(runJob(eraseUser(opened.reader, 'bob'))).toEqual(erased);
      expect(remains(opened.reader)).toEqual(clean);
      close(opened);
    }
  });

  test('that breaks off after any of its steps is finished by the next start', async () => {
    let isComplete = false;
    for (let steps = 1; !isComplete; steps += steps < 20 ? 1 : 7) {
      const opened = await filled(mixed);
      const { path, reader } = opened;
      const job = eraseUser(reader, 'bob');
      for (let step = 0; step < steps && !isComplete; step++) isComplete = job.next().done === true;
      const hasBegun = reader.list.isErased('bob', FIRST_SEQ);
      reader.close();
      const again = openReader(path);
      runJob(finishErasures(again));
      if (hasBegun) expect(remains(again)).toEqual(clean);
      again.close();
      opened.storage.close();
    }
  });

  test('leaves rows that the user records while it runs, and after it', async () => {
    const opened = await filled(mixed);
    const { storage, reader } = opened;
    const writer = createWriter(storage);
    const job = eraseUser(reader, 'bob');
    let later = 0;
    for (let result = job.next(); !result.done; result = job.next()) {
      if (!reader.list.isErased('bob', FIRST_SEQ)) continue;
      const seq = FIRST_SEQ + 10_000 + later++;
      await writer.commit({ ...NOTHING, records: [metric(seq, { userId: 'bob', dataString: 'bob again' })] });
      if (later % 3 === 0) reader.store.step();
    }
    expect(later).toBeGreaterThan(5);
    runJob(reader.store.catchUp());
    const bob = reader.store.user('bob');
    if (bob === undefined) throw new Error('bob has no number');
    expect(rowsOfUser(reader, bob)).toEqual([later]);
    runJob(reader.store.rebuild());
    const rebuilt = reader.store.user('bob');
    expect(rowsOfUser(reader, rebuilt ?? 0)).toEqual([later]);
    expect(reader.list.isErased('bob', FIRST_SEQ)).toBe(true);
    expect(reader.list.isErased('bob', FIRST_SEQ + 10_000)).toBe(false);
    expect(reader.list.isErased('ada', FIRST_SEQ)).toBe(false);
    close(opened);
  });

  test('is pending while another connection reads the rows as they were, and overwritten once it stops', async () => {
    const opened = await filled(mixed);
    const { path, reader } = opened;
    const snapshot = openReader(path);
    snapshot.client.run('BEGIN');
    snapshot.client.query('SELECT count(*) FROM metrics').get();
    runJob(eraseUser(reader, 'bob'));
    expect(reader.list.pending()).toBe(1);
    expect(reader.client.query("SELECT 1 FROM metrics WHERE user_id = 'bob'").get()).toBeNull();
    snapshot.client.run('COMMIT');
    finishOverwriting(reader.client, reader.store, reader.list);
    expect(reader.list.pending()).toBe(0);
    snapshot.close();
    close(opened);
  });
});

test('a rebuild that breaks off is finished by the next start', async () => {
  const rows = records(2_000, (seq, i) => metric(seq, { metricName: `m ${i % 30}`, userId: `u ${i % 5}` }));
  for (const steps of [1, 2, 3, 4, 6]) {
    const opened = await filled(rows);
    const { path, reader } = opened;
    runJob(reader.store.catchUp());
    runJob(reader.store.seal());
    const job = reader.store.rebuild();
    for (let step = 0; step < steps; step++) job.next();
    reader.close();
    const again = openReader(path);
    runJob(again.store.finishRebuild());
    runJob(again.store.catchUp());
    expect(again.store.extents('metric').reduce((sum, { extent }) => sum + extent.rows, 0)).toBe(2_000);
    again.close();
    opened.storage.close();
  }
});

test('the next seq is above rows, watermarks and the erasure list', async () => {
  const opened = await filled(records(10, (seq) => metric(seq)));
  const { storage, reader } = opened;
  const last = FIRST_SEQ + 9;
  const writer = createWriter(storage);
  expect(writer.lastSeq()).toBe(last);
  runJob(eraseUser(reader, 'ada'));
  storage.client.run('DELETE FROM metrics');
  expect(writer.lastSeq()).toBe(last);
  storage.client.run('DELETE FROM erasures');
  runJob(reader.store.catchUp());
  expect(writer.lastSeq()).toBe(last); // the watermark
  close(opened);
});
