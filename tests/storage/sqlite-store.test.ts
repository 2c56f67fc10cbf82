import { afterAll } from 'bun:test';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openStorage } from '../../src/storage/database.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { type RecordRow, readWindow, type ScanPosition } from '../../src/storage/records.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { temporaryFolder } from '../harness/target.ts';
import { describeStore, type Store } from './store-contract.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let databases = 0;
const newPath = () => join(folder.path, `${++databases}`, 'rawlog.db');

/** Opens the SQLite store at a path. */
function openStore(path: string): Store {
  const storage = openStorage(path);
  const reader = openReader(path);
  const close = () => {
    reader.close();
    storage.close();
  };
  return {
    writer: createWriter(storage),
    rows(kind) {
      const found: RecordRow[] = [];
      const noFilter = { user: undefined, name: undefined, label: undefined, from: undefined, to: undefined };
      for (let next: ScanPosition | undefined = { after: 0 }; next !== undefined; ) {
        const window: ReturnType<typeof readWindow> = readWindow(reader.client, kind, noFilter, next, 'oldest', {
          rows: 1_000,
          bytes: 1e9,
        });
        found.push(...window.rows);
        next = window.next;
      }
      return found;
    },
    erase: (userId) => runJob(eraseUser(reader, userId)),
    names(kind) {
      runJob(reader.store.catchUp());
      return Object.fromEntries(reader.store.extents(kind).map(({ series, extent }) => [series.name, extent.rows]));
    },
    async crash() {
      // A crash leaves the files as they are, without a checkpoint.
      const next = newPath();
      mkdirSync(dirname(next), { recursive: true });
      for (const file of ['', '-wal']) if (existsSync(path + file)) copyFileSync(path + file, next + file);
      copyFileSync(join(path, '../erasure-key'), join(next, '../erasure-key'));
      close();
      return openStore(next);
    },
    close,
  };
}

describeStore('SQLite', async () => openStore(newPath()));
