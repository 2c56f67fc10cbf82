import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type CommitQueue, createCommitQueue } from '../../src/ingest/commit-queue.ts';
import { createIdSource } from '../../src/ingest/ids.ts';
import { createLedger } from '../../src/ingest/ledger.ts';
import type { LogRecord } from '../../src/records.ts';
import { openStorage, type Storage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { rows } from '../harness/client.ts';
import { temporaryFolder } from '../harness/target.ts';

let folder: ReturnType<typeof temporaryFolder>;
let storage: Storage;
let queue: CommitQueue;
let databasePath: string;
let transactions: number;
/** Delays the end of each commit, as a slow disk does. */
let disk: Promise<void>;
let published: LogRecord[];
const nextId = createIdSource(Date.now, 0);

beforeEach(() => {
  folder = temporaryFolder();
  databasePath = join(folder.path, 'rawlog.db');
  storage = openStorage(databasePath);
  const writer = createWriter(storage);
  transactions = 0;
  disk = Promise.resolve();
  published = [];
  const counted = {
    ...writer,
    async commit(...args: Parameters<typeof writer.commit>) {
      transactions++;
      await writer.commit(...args);
      await disk;
    },
  };
  const bounds = { rows: 1000, bytes: 1_000_000 };
  queue = createCommitQueue(
    counted,
    createLedger([]),
    bounds,
    () => {},
    (records) => void published.push(...records),
  );
});
afterEach(() => {
  storage.close();
  folder[Symbol.dispose]();
});

function metric(value: number): LogRecord {
  const stamp = { ...nextId(), userId: 'u', happenedAt: 1, receivedAt: 1 };
  return { kind: 'metric', ...stamp, metricName: 'm', metricValue: value, dataString: 's' };
}

describe('group commit', () => {
  test('commits requests that arrive together in one transaction', async () => {
    await Promise.all(Array.from({ length: 100 }, (_, i) => queue.store([metric(i)], 100)));
    expect(transactions).toBe(1);
    expect(rows({ databasePath }, 'metrics').map((row) => row['metric_value'])).toEqual(
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  test('limits the other changes per transaction, and counts their memory', async () => {
    await Promise.all(Array.from({ length: 100 }, () => queue.store([], 1, { change: () => 0 })));
    expect(transactions).toBe(5);
    const heavy = queue.store([], 1_000_000, { change: () => 0 });
    await expect(queue.store([], 1, { change: () => 0 })).rejects.toMatchObject({ code: 'overloaded' });
    await queue.store([], 0, { change: () => 0 }); // a deletion needs no memory
    await heavy;
  });

  test('resolves after the row is in the database', async () => {
    for (let i = 1; i <= 5; i++) {
      await queue.store([metric(i)], 100);
      expect(rows({ databasePath }, 'metrics')).toHaveLength(i);
    }
    expect(transactions).toBe(5);
  });

  test('rejects only the request whose row the database rejects', async () => {
    const poison = { ...metric(2), metricValue: Number.NaN }; // NaN is NULL to SQLite
    const results = await Promise.allSettled([
      queue.store([metric(1)], 100),
      queue.store([poison], 100),
      queue.store([metric(3)], 100),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: { code: 'internal' } });
    expect(rows({ databasePath }, 'metrics').map((row) => row['metric_value'])).toEqual([1, 3]);
  });

  test('stores all records of a request or none', async () => {
    const poison = { ...metric(2), metricValue: Number.NaN };
    await expect(queue.store([metric(1), poison], 100)).rejects.toMatchObject({ code: 'internal' });
    expect(rows({ databasePath }, 'metrics')).toEqual([]);
    await queue.store([metric(3)], 100);
    expect(rows({ databasePath }, 'metrics')).toHaveLength(1);
  });

  test('stores requests that arrive during a lock once it is released', async () => {
    const other = new Database(databasePath);
    other.run('BEGIN IMMEDIATE');
    const first = queue.store([metric(1)], 100);
    await new Promise(setImmediate);
    const second = queue.store([metric(2)], 100);
    other.run('COMMIT');
    other.close();
    await Promise.all([first, second]);
    expect(rows({ databasePath }, 'metrics')).toHaveLength(2);
  });

  test('publishes records once they are on disk, and never publishes rejected ones', async () => {
    const slow = Promise.withResolvers<void>();
    disk = slow.promise;
    const first = metric(1);
    const stored = queue.store([first], 100);
    while (rows({ databasePath }, 'metrics').length === 0) await new Promise(setImmediate);
    expect(published).toEqual([]);
    slow.resolve();
    await stored;
    expect(published).toEqual([first]);
    const poison = { ...metric(2), metricValue: Number.NaN };
    const second = metric(3);
    await Promise.allSettled([queue.store([poison], 100), queue.store([second], 100)]);
    expect(published).toEqual([first, second]);
  });

  test('on close, commits queued requests and rejects later ones', async () => {
    const stored = queue.store([metric(1)], 100);
    const closed = queue.close();
    await expect(queue.store([metric(2)], 100)).rejects.toMatchObject({ code: 'shutting_down' });
    await closed;
    await stored;
    expect(rows({ databasePath }, 'metrics')).toHaveLength(1);
  });

  test('rejects requests that exceed the bounds, and accepts them again once there is room', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => metric(i));
    const first = queue.store(many, 100);
    expect(queue.hasRoom(1)).toBe(false);
    await expect(queue.store([metric(1)], 100)).rejects.toMatchObject({ code: 'overloaded' });
    await first;
    expect(queue.hasRoom(1_000_000)).toBe(true);
    expect(queue.hasRoom(1_000_001)).toBe(false);
    const heavy = queue.store([metric(1)], 1_000_000);
    await expect(queue.store([metric(2)], 1)).rejects.toMatchObject({ code: 'overloaded' });
    await heavy;
    await queue.store([metric(3)], 1);
    expect(rows({ databasePath }, 'metrics')).toHaveLength(1002);
  });

  test('accepts all rows of a request if there is room for one', async () => {
    const stored = [
      queue.store([metric(1)], 1),
      queue.store(
        Array.from({ length: 1000 }, (_, i) => metric(i)),
        1,
      ),
    ];
    await expect(queue.store([metric(2)], 1)).rejects.toMatchObject({ code: 'overloaded' });
    // a request without rows is always accepted
    await Promise.all([...stored, queue.store([], 0)]);
    expect(rows({ databasePath }, 'metrics')).toHaveLength(1001);
  });

  test('during a lock, rejects later requests sooner than the first, and recovers when it ends', async () => {
    const other = new Database(databasePath);
    other.run('BEGIN IMMEDIATE');
    const firstStart = performance.now();
    await expect(queue.store([metric(1)], 1)).rejects.toMatchObject({ code: 'storage_unavailable' });
    const firstDuration = performance.now() - firstStart;
    const secondStart = performance.now();
    await expect(queue.store([metric(2)], 1)).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(performance.now() - secondStart).toBeLessThan(firstDuration);
    other.run('COMMIT');
    other.close();
    await queue.store([metric(3)], 1);
    expect(rows({ databasePath }, 'metrics').map((row) => row['metric_value'])).toEqual([3]);
  });
});
