import { expect, test } from 'bun:test';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { backupPieces } from '../../src/backup/write.ts';
import { PacedFile } from '../../src/paced-file.ts';
import type { Snapshot } from '../../src/storage/snapshot.ts';
import { packBackup } from '../harness/backups.ts';
import { temporaryFolder } from '../harness/target.ts';

const PAGE_BYTES = 4096;
/** Two parts: one of 64 MB, and one that ends in the middle of a chunk. */
const PAGES = (64 * 1024 ** 2 + 300_000) / PAGE_BYTES;
const ORIGIN = { version: '1.2.3', takenAt: Date.UTC(2026, 10, 26, 19), erasureKey: undefined };

/** A snapshot whose pages contain their numbers. */
const snapshot: Snapshot = {
  pageSize: PAGE_BYTES,
  sizeBytes: Math.ceil(PAGES) * PAGE_BYTES,
  *contents() {
    yield undefined;
    return { rows: { metrics: 7, analytics: 0 }, ledger: { stored: 7 }, newestId: null, schemaVersion: 3 };
  },
  read(buffer, offset) {
    for (let at = 0; at < buffer.length; at += PAGE_BYTES) buffer.fill((offset + at) / PAGE_BYTES, at, at + PAGE_BYTES);
  },
  close() {},
};

test('a file that is written in one pass equals the stream that reads the database twice', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'backup.tar');
  const file = openSync(path, 'w');
  const paced = new PacedFile(file);
  const progress: number[] = [];
  for (const { bytes, position } of backupPieces(snapshot, ORIGIN, (done, total) => progress.push(done / total))) {
    await paced.write(bytes, position);
  }
  closeSync(file);
  expect(readFileSync(path).equals(packBackup(snapshot, ORIGIN))).toBe(true);
  expect(progress.at(-1)).toBe(1);
});
