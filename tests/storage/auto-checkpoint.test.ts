import { expect, test } from 'bun:test';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { openStorage } from '../../src/storage/database.ts';
import { createTransact } from '../../src/storage/transact.ts';
import { walPath } from '../../src/storage/wal.ts';
import { temporaryFolder } from '../harness/target.ts';

const MB = 1024 ** 2;

test('commits run no checkpoints of a large write-ahead log, however large it is', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  const storage = openStorage(path);
  const transact = createTransact(storage.client);
  const pagesAt = async (walBytes: number) => {
    transact(() => storage.client.run("INSERT OR REPLACE INTO ledger VALUES ('test', 1)"));
    truncateSync(walPath(path), walBytes); // sparse: SQLite ignores what follows its last frame
    await storage.sync();
    return storage.client.query('PRAGMA wal_autocheckpoint').get();
  };
  expect(await pagesAt(15 * MB)).toEqual({ wal_autocheckpoint: 1_000 });
  expect(await pagesAt(17 * MB)).toEqual({ wal_autocheckpoint: 0 });
  expect(await pagesAt(2_000 * MB)).toEqual({ wal_autocheckpoint: 0 });
  expect(await pagesAt(15 * MB)).toEqual({ wal_autocheckpoint: 1_000 });
  storage.close();
});
