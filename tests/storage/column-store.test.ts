import { describe, expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { finishOverwriting } from '../../src/storage/blanking.ts';
import { beginRebuild } from '../../src/storage/columns/rebuild.ts';
import { eraseUser, finishErasures } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { StorageError } from '../../src/storage/storage-error.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { close, filledDatabases } from './filled.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

const openFilled = filledDatabases();

const rowsOf = ({ store }: ReaderStorage, name = 'load'): number => {
  const series = store.find('metric', name);
  return series ? (store.extent(series)?.rows ?? 0) : 0;
};

/** Returns the numbers of a user's metrics, for each series that contains any. */
const rowsOfUser = ({ store }: ReaderStorage, user: number): number[] =>
  store.seriesWith('metric', user).flatMap((series) => {
    const rows = [...store.chunks(series)].reduce(
      (sum, { users }) => sum + users.filter((rowUser) => rowUser === user).length,
      0,
    );
    return rows > 0 ? [rows] : [];
  });

describe('sealing', () => {
  test('writes many large labels in transactions of a few megabytes each', async () => {
    const opened = await openFilled(
      records(4_000, (seq, i) => metric(seq, { dataString: `${i} ${'x'.repeat(8_000)}`, metricName: `m ${i % 7}` })),
    );
    const { path, reader } = opened;
    // Each transaction restarts the WAL, so the size of the WAL is that of the transaction.
    let largestBytes = 0;
    const measureAndTruncate = () => {
      largestBytes = Math.max(largestBytes, statSync(`${path}-wal`).size);
      reader.client.query('PRAGMA wal_checkpoint(TRUNCATE)').get();
    };
    measureAndTruncate();
    largestBytes = 0;
    for (const job of [reader.store.catchUp(), reader.store.seal()]) {
      for (const _ of job) measureAndTruncate();
    }
    expect(largestBytes).toBeGreaterThan(0);
    expect(largestBytes).toBeLessThan(16 * 1024 * 1024);
    expect(reader.store.extents('metric').reduce((sum, { extent }) => sum + extent.rows, 0)).toBe(4_000);
    close(opened);
  });

  test('loses no rows and duplicates none when it is interrupted after any of its transactions', async () => {
    const rows = records(3_000, (seq, i) => metric(seq, { metricName: `m ${i % 700}`, userId: `u ${i % 90}` }));
    for (const steps of [1, 2, 3, 4, 5, 6, 8, 12]) {
      const opened = await openFilled(rows);
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

  test('serves the same users and labels between all of its steps', async () => {
    const row = (i: number) => ({ metricName: `m ${i % 3}`, userId: `u ${i % 400}`, dataString: `label ${i % 50}` });
    const opened = await openFilled(records(2_000, (seq, i) => metric(seq, row(i))));
    const { store } = opened.reader;
    runJob(store.catchUp());
    const served = () =>
      store
        .seriesOf('metric')
        .flatMap((series) =>
          [...store.chunks(series)].flatMap(({ users, labels }) =>
            Array.from(users, (user, i) => ({ user, name: series.name, label: store.labelText(labels[i] as number) })),
          ),
        );
    const expectRows = () => {
      const rows = Array.from({ length: 2_000 }, (_, i) => row(i));
      const expected = rows.map(({ metricName, userId, dataString }) => ({
        user: store.user(userId) as number,
        name: metricName,
        label: dataString,
      }));
      const sorted = (list: object[]) => list.map((item) => JSON.stringify(item)).sort();
      expect(sorted(served())).toEqual(sorted(expected));
    };
    expectRows();
    for (const _ of store.seal()) expectRows();
    expectRows();
    close(opened);
  });

  test('keeps the number of chunks logarithmic for a series that grows in small steps', async () => {
    const opened = await openFilled([]);
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

test('a memtable uses as much memory for 65,000 series as for one', async () => {
  const opened = await openFilled(records(65_000, (seq, i) => metric(seq, { metricName: `m ${i}` })));
  const before = process.memoryUsage.rss();
  runJob(opened.reader.store.catchUp());
  // The entry of a series is about 200 bytes. Separate arrays per series would use 100 MB.
  expect(process.memoryUsage.rss() - before).toBeLessThan(90 * 1024 * 1024);
  close(opened);
});

test('reading a chunk whose bytes were changed throws a "corrupt" error', async () => {
  const opened = await openFilled(records(100, (seq) => metric(seq)));
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

describe('erasure', () => {
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

  /** Returns the rows per name, and the number of traces of bob in each table. */
  function inspect(reader: ReaderStorage): unknown {
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
  const withoutBob = {
    rows: [[['load', 2_500 - erased.metrics]], [['click', 2_500 - erased.analytics]]],
    bob: [0, 0, 0, 0, 0, 0],
  };

  test('removes every row, label and name of the user, whether sealed or in the memtable', async () => {
    for (const isSealed of [true, false]) {
      const opened = await openFilled(mixed);
      if (isSealed) {
        runJob(opened.reader.store.catchUp());
        runJob(opened.reader.store.seal());
      }
      expect(runJob(eraseUser(opened.reader, 'bob'))).toEqual(erased);
      expect(inspect(opened.reader)).toEqual(withoutBob);
      close(opened);
    }
  });

  test('is finished by the next start when it is interrupted after any of its steps', async () => {
    let isComplete = false;
    for (let steps = 1; !isComplete; steps += steps < 20 ? 1 : 7) {
      const opened = await openFilled(mixed);
      const { path, reader } = opened;
      const job = eraseUser(reader, 'bob');
      for (let step = 0; step < steps && !isComplete; step++) isComplete = job.next().done === true;
      const hasBegun = reader.list.isErased('bob', FIRST_SEQ);
      reader.close();
      const again = openReader(path);
      runJob(finishErasures(again));
      if (hasBegun) expect(inspect(again)).toEqual(withoutBob);
      again.close();
      opened.storage.close();
    }
  });

  test('removes labels and names that only the user had, if the column store is rebuilt before it is finished', async () => {
    const opened = await openFilled(
      records(400, (seq, i) =>
        metric(
          seq,
          i % 2 === 0 ? {} : { userId: 'bob', dataString: 'of bob', metricName: i % 4 === 1 ? 'only bob' : 'load' },
        ),
      ),
    );
    const { path, reader, storage } = opened;
    const job = eraseUser(reader, 'bob');
    while (reader.list.unfinished().length === 0) job.next();
    reader.close();
    storage.client.transaction(() => beginRebuild(storage.client))(); // as an upgrade does
    const again = openReader(path);
    runJob(again.store.finishRebuild());
    runJob(finishErasures(again));
    runJob(again.store.catchUp());
    runJob(again.store.seal());
    const count = (sql: string) => again.client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${sql}`).get()?.n;
    expect(count("labels WHERE label = 'of bob'")).toBe(0);
    expect(count("series WHERE name = 'only bob'")).toBe(0);
    expect(rowsOf(again)).toBe(200);
    expect(verifyDatabase(again.client).problems).toEqual([]);
    again.close();
    storage.close();
  });

  test('keeps rows that the user records while it runs or afterwards', async () => {
    const opened = await openFilled(mixed);
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

  test('stays pending while another connection reads an older snapshot, and is overwritten after that', async () => {
    const opened = await openFilled(mixed);
    const { path, reader } = opened;
    const snapshot = openReader(path);
    snapshot.client.run('BEGIN');
    snapshot.client.query('SELECT count(*) FROM metrics').get();
    runJob(eraseUser(reader, 'bob'));
    expect(reader.list.pending()).toBe(1);
    expect(reader.client.query("SELECT 1 FROM metrics WHERE user_id = 'bob'").get()).toBeNull();
    snapshot.client.run('COMMIT');
    finishOverwriting(reader);
    expect(reader.list.pending()).toBe(0);
    snapshot.close();
    close(opened);
  });
});

test('the next start finishes an interrupted rebuild', async () => {
  const rows = records(2_000, (seq, i) => metric(seq, { metricName: `m ${i % 30}`, userId: `u ${i % 5}` }));
  for (const steps of [1, 2, 3, 4, 6]) {
    const opened = await openFilled(rows);
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

test('lastSeq covers the rows, the watermarks, the erasure list and the deletions', async () => {
  const opened = await openFilled(records(10, (seq) => metric(seq)));
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
  storage.client.run("UPDATE column_state SET value = 0 WHERE name IN ('metric', 'analytics')");
  expect(writer.lastSeq()).toBe(0);
  storage.client.run(
    `INSERT INTO deletions (kind, cutoff_seq, requested_at, is_overwritten) VALUES ('metric', ${last}, 0, 1)`,
  );
  expect(writer.lastSeq()).toBe(last);
  close(opened);
});
