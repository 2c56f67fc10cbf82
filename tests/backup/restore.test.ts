import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERASURE_LOG_NAME, openFolderErasureLog } from '../../src/backup/erasure-log.ts';
import { readFileChunks } from '../../src/backup/file-source.ts';
import { type RestoreOptions, restoreBackup } from '../../src/backup/restore.ts';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openBoardLinkStore } from '../../src/storage/board-link-store.ts';
import { openStorage } from '../../src/storage/database.ts';
import {
  addFinishedErasure,
  erasureKeyPath,
  fingerprintOf,
  openUserHash,
  readErasureKey,
} from '../../src/storage/erasure-list.ts';
import { openSnapshot } from '../../src/storage/snapshot.ts';
import { packBackup } from '../harness/backups.ts';
import { temporaryFolder } from '../harness/target.ts';
import { storeRows } from '../storage/filled.ts';

const NO_S3 = {
  endpoint: undefined,
  region: undefined,
  accessKeyId: undefined,
  secretAccessKey: undefined,
  sessionToken: undefined,
};

let folder: ReturnType<typeof temporaryFolder>;
/** A database with a row of ada and one of berta, and its backup. Then ada was erased. */
let path: string;
let backup: string;

beforeEach(async () => {
  folder = temporaryFolder();
  path = join(folder.path, 'data/rawlog.db');
  backup = join(folder.path, 'backup.tar');
  const storage = openStorage(path);
  const hash = openUserHash(path);
  const nextId = createIdSource(() => Date.UTC(2026, 0, 2), 0);
  const happenedAt = Date.UTC(2026, 0, 2) * 1000;
  const metric = {
    kind: 'metric',
    happenedAt,
    receivedAt: happenedAt,
    metricName: 'load',
    metricValue: 1,
    dataString: '/',
  } as const;
  await storeRows(
    storage,
    ['ada', 'berta'].map((userId) => ({ ...metric, ...nextId(), userId })),
  );
  const links = openBoardLinkStore(storage.client);
  for (const [linkId, expiresAt] of [
    ['valid', Date.now() + 86_400_000],
    ['expired', Date.now() - 1],
  ] as const) {
    const link = { linkId, boardId: 'board', creator: 'berta', isForAll: false, createdAt: 0, expiresAt };
    links.insert(link, randomBytes(32));
  }
  const snapshot = await openSnapshot(path, storage.file);
  const key = readErasureKey(path);
  const origin = { version: '1.2.3', takenAt: Date.UTC(2026, 0, 3), erasureKey: key && fingerprintOf(key) };
  writeFileSync(backup, packBackup(snapshot, origin));
  snapshot.close();
  addFinishedErasure(storage.client, { userHash: hash('ada'), cutoffSeq: 2 ** 40, requestedAt: Date.UTC(2026, 0, 4) });
  storage.close();
});
afterEach(() => folder[Symbol.dispose]());

function restore(options: Partial<RestoreOptions> = {}) {
  const defaults = {
    databasePath: path,
    overwrite: true,
    erasureKeyPath: undefined,
    logPlaces: [],
    s3: NO_S3,
    withoutLaterErasures: false,
    keepLinks: false,
  };
  const ignored = () => {};
  return restoreBackup(
    readFileChunks(backup),
    { ...defaults, ...options },
    { onBytes: ignored, onManifest: ignored, onRows: ignored },
  );
}

/** Returns the message with which a restore fails. */
async function failureOf(restored: Promise<unknown>): Promise<string> {
  return restored.then(
    () => '',
    (error: Error) => error.message,
  );
}

/** Changes the database that will be replaced. */
function alter(...statements: readonly string[]): void {
  const client = new Database(path);
  for (const statement of statements) client.run(statement);
  client.close();
}

const NEWER = 'UPDATE __drizzle_migrations SET created_at = created_at + 1';

describe('the erasures of the replaced database', () => {
  test('are repeated, also if a newer version has written it', async () => {
    alter(NEWER, 'ALTER TABLE erasures ADD COLUMN later TEXT', 'CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT');
    expect(await restore()).toMatchObject({
      laterErasures: 1,
      erasedAgain: 1,
      skippedErasures: 0,
      isListUnreadable: false,
    });
  });

  test.each([
    ['is missing', () => alter(NEWER, 'DROP TABLE erasures')],
    ['has other columns', () => alter(NEWER, 'ALTER TABLE erasures RENAME COLUMN user_hash TO hash')],
    ['is in a damaged file', () => writeFileSync(path, 'no database'.repeat(1_000))],
  ])('must be known, or be skipped explicitly, if the list %s', async (_, damage) => {
    damage();
    const before = readFileSync(path);
    expect(await failureOf(restore())).toContain('--without-later-erasures');
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(await restore({ withoutLaterErasures: true })).toMatchObject({ isListUnreadable: true, erasedAgain: 0 });
  });

  test('in S3 must be known, or be skipped explicitly, if the service cannot be reached', async () => {
    const s3 = {
      ...NO_S3,
      endpoint: 'http://127.0.0.1:1',
      region: 'eu',
      accessKeyId: 'key',
      secretAccessKey: 'secret',
    };
    const unreachable = { s3, logPlaces: ['s3://bucket/prefix'] };
    const before = readFileSync(path);
    expect(await failureOf(restore(unreachable))).toContain('--without-later-erasures');
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(await restore({ ...unreachable, withoutLaterErasures: true })).toMatchObject({ isLogUnreadable: true });
  });

  test('do not exist in a file of another program, which is not replaced', async () => {
    for (const id of [0, 1234]) {
      rmSync(path);
      alter(`PRAGMA application_id = ${id}`, 'CREATE TABLE other (id INTEGER)');
      const before = readFileSync(path);
      expect(await failureOf(restore({ withoutLaterErasures: true }))).toContain('belongs to another program');
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });
});

describe('the key of the erasure list', () => {
  test('must be the one of the backup', async () => {
    const wrong = join(folder.path, 'wrong');
    writeFileSync(wrong, randomBytes(32).toString('base64url'));
    const databasePath = join(folder.path, 'new/rawlog.db');
    expect(await failureOf(restore({ databasePath, erasureKeyPath: wrong }))).toContain('is not the key');
    expect(await restore({ databasePath, erasureKeyPath: erasureKeyPath(path) })).toMatchObject({
      hasKey: true,
      hasErasureSource: false,
    });
  });

  test('erases again whom it identifies when the other erasures are skipped', async () => {
    const logs = join(folder.path, 'logs');
    const otherPath = join(folder.path, 'other/rawlog.db');
    for (const logged of [path, otherPath]) {
      const storage = openStorage(logged);
      const userHash = openUserHash(logged)('berta');
      if (logged !== path)
        addFinishedErasure(storage.client, { userHash, cutoffSeq: 5, requestedAt: Date.UTC(2026, 0, 4) });
      await openFolderErasureLog(logs, logged, storage.client).update();
      storage.close();
    }
    expect(readFileSync(join(logs, ERASURE_LOG_NAME), 'utf8').split('\n')).toHaveLength(3);
    const options = {
      databasePath: join(folder.path, 'new/rawlog.db'),
      erasureKeyPath: erasureKeyPath(path),
      logPlaces: [logs],
    };
    expect(await failureOf(restore(options))).toContain('the key that identifies 1 of them is missing');
    expect(await restore({ ...options, withoutLaterErasures: true })).toMatchObject({
      ...{ laterErasures: 2, erasedAgain: 1, skippedErasures: 1, hasErasureSource: true },
    });
  });
});

test.each([
  [false, 1, []],
  [true, 0, ['valid', 'expired']],
])('shared links are revoked unless they are kept (%p)', async (keepLinks, revokedLinks, linkIds) => {
  expect(await restore({ keepLinks })).toMatchObject({ revokedLinks });
  // this process has connections to the replaced file of that name
  const copy = join(folder.path, 'copy.db');
  copyFileSync(path, copy);
  const client = new Database(copy);
  expect(
    openBoardLinkStore(client)
      .list(undefined)
      .map(({ linkId }) => linkId),
  ).toEqual(linkIds);
  client.close();
});
