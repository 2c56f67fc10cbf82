import { join } from 'node:path';
import type { Config } from '../config.ts';
import { erasureKeyPath } from '../storage/erasure-list.ts';
import { DATABASE_FILES } from '../storage/opening-error.ts';

/** Returns the files that no command may overwrite, whether they exist or not. */
export function protectedFiles({ databasePath, dataDir }: Pick<Config, 'databasePath' | 'dataDir'>): string[] {
  return [
    ...DATABASE_FILES.map((ending) => databasePath + ending),
    erasureKeyPath(databasePath),
    join(dataDir, 'jwt-secret'),
  ];
}
