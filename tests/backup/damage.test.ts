import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DamagedBackupError, readBackup } from '../../src/backup/read.ts';
import type { BackupOrigin } from '../../src/backup/write.ts';
import { createIdSource } from '../../src/ingest/ids.ts';
import type { LogRecord } from '../../src/records.ts';
import { openStorage } from '../../src/storage/database.ts';
import { openSnapshot } from '../../src/storage/snapshot.ts';
import { listTar, packBackup } from '../harness/backups.ts';
import { runCli, SECRET, temporaryFolder } from '../harness/target.ts';
import { storeRows } from '../storage/filled.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const ORIGIN: BackupOrigin = { version: '1.2.3', takenAt: Date.UTC(2026, 0, 2, 3, 4, 5), erasureKey: 'a1b2' };

const nextId = createIdSource(() => Date.UTC(2026, 0, 2), 0);

/** A metric of user ada. */
const metric = (): LogRecord => ({
  kind: 'metric',
  ...nextId(),
  userId: 'ada',
  happenedAt: Date.UTC(2026, 0, 2) * 1000,
  receivedAt: Date.UTC(2026, 0, 2) * 1000,
  metricName: 'load',
  metricValue: 1,
  dataString: '/',
});

let backup: Buffer;
beforeAll(async () => {
  const path = join(folder.path, 'rawlog.db');
  const storage = openStorage(path);
  await storeRows(storage, Array.from({ length: 100 }, metric));
  storage.close();
  const snapshot = await openSnapshot(path);
  backup = packBackup(snapshot, ORIGIN);
  snapshot.close();
});

/** Yields bytes in pieces of a size that is no multiple of a block. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_003) yield bytes.subarray(at, at + 100_003);
}

/** Returns the message of the error with which a damaged backup is read. */
async function problemWith(bytes: Uint8Array): Promise<string> {
  try {
    await readBackup(inPieces(bytes));
    return '';
  } catch (error) {
    if (error instanceof DamagedBackupError) return error.message;
    throw error;
  }
}

/** Returns whether a message names a range of bytes that contains an offset. */
function locates(message: string, offset: number): boolean {
  return [...message.matchAll(/bytes (\d+) to (\d+)/g)].some(
    ([, start, end]) => Number(start) <= offset && offset <= Number(end),
  );
}

test('a backup is a tar archive of the manifest and the database', async () => {
  const entries = listTar(backup);
  expect(entries.map(({ name }) => name)).toEqual(['manifest.json', 'rawlog.db.000']);
  expect(await readBackup(inPieces(backup))).toMatchObject({
    rawlog_version: '1.2.3',
    created_at: '2026-01-02T03:04:05.000Z',
    rows: { metrics: 100, analytics: 0 },
    ledger: { stored: 100 },
    newest_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
    erasure_key: 'a1b2',
  });
  const path = join(folder.path, 'valid.tar');
  writeFileSync(path, backup);
  const extracted = Bun.spawnSync(['tar', '-xOf', path, 'rawlog.db.000']).stdout;
  expect(extracted.equals(readFileSync(join(folder.path, 'rawlog.db')))).toBe(true);
});

describe('a changed byte is located', () => {
  test.each([0x01, 0x20])('in every header, the manifest, padding and end, xor %d', async (mask) => {
    const [manifest, part] = listTar(backup);
    if (!manifest || !part) throw new Error('unreachable: there are two files');
    const places = [
      ...Array.from({ length: part.offset }, (_, i) => i),
      ...Array.from({ length: backup.length - part.offset - part.bytes }, (_, i) => part.offset + part.bytes + i),
    ];
    expect(places.length).toBeGreaterThan(2_500);
    const unnoticed: number[] = [];
    for (const place of places) {
      const damaged = Buffer.from(backup);
      damaged.writeUInt8((damaged[place] ?? 0) ^ mask, place);
      if (!locates(await problemWith(damaged), place)) unnoticed.push(place);
    }
    expect(unnoticed).toEqual([]);
  });

  test('in the database', async () => {
    const part = listTar(backup)[1];
    if (!part) throw new Error('unreachable: there are two files');
    for (let place = part.offset; place < part.offset + part.bytes; place += 977) {
      const damaged = Buffer.from(backup);
      damaged.writeUInt8((damaged[place] ?? 0) ^ 4, place);
      const message = await problemWith(damaged);
      expect(message).toStartWith('Damage in rawlog.db.000');
      expect(locates(message, place)).toBe(true);
    }
  });
});

test('a backup that ends early at any block, or continues after its end, is damaged', async () => {
  for (let end = 0; end < backup.length; end += 512) {
    expect([end, await problemWith(backup.subarray(0, end))]).toEqual([end, expect.stringMatching(/truncated|ends/)]);
  }
  expect(await problemWith(backup.subarray(0, -1))).toContain('truncated');
  expect(await problemWith(Buffer.concat([backup, Buffer.alloc(512)]))).toContain('continues after its end');
});

test('other files are not backups', async () => {
  for (const content of ['', 'x', 'SQLite format 3\0'.padEnd(9_000, 'x')]) {
    expect(await problemWith(Buffer.from(content))).toContain('not a backup');
  }
});

test('verify exits with status 1, names the location and leaves no files', async () => {
  using place = temporaryFolder();
  const path = join(place.path, 'backup.tar');
  const env = { JWT_SECRET: SECRET, DATA_DIR: join(place.path, 'none') };
  writeFileSync(path, backup);
  const intact = await runCli(['verify', path], { env });
  expect(intact).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('100 metrics, 0 events') });
  const damaged = Buffer.from(backup);
  damaged.writeUInt8(99, backup.length - 2_000);
  writeFileSync(path, damaged);
  const { exitCode, stdout } = await runCli(['verify', path], { env });
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: expect.stringMatching(/^Damage in rawlog\.db\.000/) });
  const asJson = await runCli(['verify', path, '--json'], { env });
  expect(asJson.exitCode).toBe(1);
  expect(JSON.parse(asJson.stdout)).toEqual({ file: path, problems: [stdout.trim()], omitted: 0 });
  expect([...new Bun.Glob('**').scanSync({ cwd: place.path, dot: true })]).toEqual(['backup.tar']);
});
