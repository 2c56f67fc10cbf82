import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { erasureKeyPath } from '../storage/erasure-list.ts';

/** What SQLite and the server keep beside a database, by the endings of their names. */
const BESIDE_DATABASE = ['', '-wal', '-shm', '-journal', '.lock'];

/** The files that no command may write to, whether they exist or not. */
export function ownFiles({ databasePath, dataDir }: Pick<Config, 'databasePath' | 'dataDir'>): string[] {
  // SQLite keeps its files beside the database itself, not beside a link to it
  const databases = new Set([databasePath, realPath(databasePath)]);
  return [
    ...[...databases].flatMap((path) => BESIDE_DATABASE.map((ending) => path + ending)),
    ...[...databases].map(erasureKeyPath),
    join(dataDir, 'jwt-secret'),
  ];
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // there is no database yet
  }
}
