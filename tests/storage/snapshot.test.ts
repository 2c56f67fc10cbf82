import { Database } from 'bun:sqlite';
import { expect, spyOn, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockPath, openStorage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import { countRowsInParts } from '../../src/storage/records.ts';
import { openSnapshot } from '../../src/storage/snapshot.ts';
import { insertMetrics } from '../bench/fill.ts';
import { temporaryFolder } from '../harness/target.ts';

test('closing a snapshot whose transaction was rolled back closes its connections and throws nothing', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  openStorage(path).close();
  const connections: Database[] = [];
  const { run } = Database.prototype;
  const spy = spyOn(Database.prototype, 'run').mockImplementation(function (this: Database, sql, ...bindings) {
    if (sql === 'BEGIN') connections.push(this);
    return run.call(this, sql, ...bindings);
  });
  const snapshot = await openSnapshot(path).finally(() => spy.mockRestore());
  connections[0]?.run('ROLLBACK'); // as some I/O errors do
  snapshot.close();
  expect(existsSync(`${path}-wal`)).toBe(false); // the last connection deletes the log
  expect(() => connections[0]?.run('SELECT 1')).toThrow();
});

test('a snapshot of a database that no server has open does not change it, and ends when one opens it', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  openStorage(path).close();
  const before = readFileSync(path);
  const names = readdirSync(folder.path);
  const snapshot = await openSnapshot(path);
  const bytes = Buffer.alloc(snapshot.sizeBytes);
  snapshot.read(bytes, 0);
  expect(bytes.equals(before)).toBe(true);
  expect(readdirSync(folder.path)).toEqual(names);
  snapshot.close();
  expect(readFileSync(path).equals(before)).toBe(true);

  const next = await openSnapshot(path);
  const server = new Database(lockPath(path));
  server.run('BEGIN EXCLUSIVE');
  expect(() => next.read(bytes, 0)).toThrow('opened the database');
  next.close();
  server.close();
});

test('rows are counted in parts', () => {
  using folder = temporaryFolder();
  const storage = openStorage(join(folder.path, 'rawlog.db'));
  insertMetrics(storage.client, 25);
  storage.client.run("UPDATE metrics SET user_id = '' WHERE seq = (SELECT max(seq) FROM metrics)"); // as erased
  const counting = countRowsInParts(storage.client, 'metric', 10);
  const yielded = [counting.next(), counting.next(), counting.next()].filter(({ done }) => !done);
  expect(yielded).toHaveLength(3);
  expect(counting.next()).toEqual({ done: true, value: 24 });
  expect(runJob(countRowsInParts(storage.client, 'analytics'))).toBe(0);
  storage.close();
});
