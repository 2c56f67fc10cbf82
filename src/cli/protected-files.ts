import { join } from 'node:path';
import { alertsPath } from '../alerts/state-file.ts';
import type { Config } from '../config.ts';
import { nodeIdPath } from '../forwarding/node-id.ts';
import { auditLogPath } from '../storage/audit-log.ts';
import { erasureKeyPath } from '../storage/erasure-list.ts';
import { DATABASE_FILES } from '../storage/opening-error.ts';

/** Returns the files that no command may overwrite, whether they exist or not. */
export function protectedFiles({ databasePath, dataDir }: Pick<Config, 'databasePath' | 'dataDir'>): string[] {
  return [
    ...DATABASE_FILES.map((ending) => databasePath + ending),
    erasureKeyPath(databasePath),
    auditLogPath(databasePath),
    alertsPath(databasePath),
    nodeIdPath(databasePath),
    join(dataDir, 'jwt-secret'),
    join(dataDir, 'operator-secret'),
  ];
}
