import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type BackupOrigin, backupContent } from '../../src/backup/write.ts';
import type { Snapshot } from '../../src/storage/snapshot.ts';
import { runCli, SECRET } from './target.ts';

/** A line of a tar archive's listing: the name, and the offset and length of the content, in bytes. */
export interface TarEntry {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Lists the files in a tar archive, independently of the program's own reader. */
export function listTar(archive: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  const text = (start: number, length: number) =>
    Buffer.from(archive.subarray(start, start + length))
      .toString('latin1')
      .replace(/\0.*$/s, '');
  for (let at = 0; archive[at] !== 0; ) {
    const bytes = Number.parseInt(text(at + 124, 12), 8);
    entries.push({ name: text(at, 100), offset: at + 512, bytes });
    at += 512 + Math.ceil(bytes / 512) * 512;
  }
  return entries;
}

/** Returns the bytes of a backup of a snapshot. */
export function packBackup(snapshot: Snapshot, origin: BackupOrigin): Buffer {
  // a chunk is valid only until the next one
  return Buffer.concat(Array.from(backupContent(snapshot, origin), (piece) => Buffer.from(piece)));
}

/** Runs a command on a data folder, and expects it to succeed. Returns standard output. */
export async function succeed(args: readonly string[], dataDir: string, env: Record<string, string> = {}) {
  const { exitCode, stdout, stderr } = await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir, ...env } });
  if (exitCode !== 0) throw new Error(`rawlog ${args.join(' ')} failed:\n${stdout}\n${stderr}`);
  return stdout;
}

/** Returns the IDs of all records in a database, as exported. */
export async function exportedIds(dataDir: string): Promise<string[]> {
  const lines = (await succeed(['export', '-'], dataDir)).split('\n').filter((line) => line !== '');
  return lines.map((line) => (JSON.parse(line) as { id: string }).id);
}

/** Returns whether a data folder contains a database. */
export function hasDatabase(dataDir: string): boolean {
  return existsSync(join(dataDir, 'rawlog.db'));
}
