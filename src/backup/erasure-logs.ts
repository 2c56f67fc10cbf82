import fs from 'node:fs';
import { join } from 'node:path';
import { isS3Url, type S3Access } from '../formats/s3.ts';
import type { Database } from '../storage/database.ts';
import type { ErasureLog, ErasureLogContent } from './erasure-entry.ts';
import { ERASURE_LOG_NAME, openFolderErasureLog, readErasureLog } from './erasure-log.ts';
import { openS3ErasureLog, readS3ErasureLog } from './s3-erasure-log.ts';

/**
 * Opens the erasure log in BACKUP_DIR, which is a folder or a prefix in S3.
 *
 * @param s3 returns how to reach S3, which may change
 * @param client a connection to the database; no other process may write to the log
 */
export function openErasureLog(
  backupDir: string,
  s3: () => S3Access,
  databasePath: string,
  client: Database,
): ErasureLog {
  return isS3Url(backupDir)
    ? openS3ErasureLog(backupDir, s3, databasePath, client)
    : openFolderErasureLog(backupDir, databasePath, client);
}

/**
 * Reads the erasure logs in folders and in prefixes in S3. Where there is none, nothing is read.
 *
 * @param onUnreachable called with the error if a prefix cannot be read: it may have a log. May rethrow it
 * @throws {Error} if a folder cannot be read
 */
export async function readErasureLogs(
  places: readonly string[],
  s3: S3Access,
  onUnreachable: (error: unknown) => void,
): Promise<ErasureLogContent[]> {
  const paths = places.flatMap((place) => (isS3Url(place) ? [] : existingPath(join(place, ERASURE_LOG_NAME))));
  const logs = [...new Set(paths)].map(readErasureLog);
  const urls = places.filter(isS3Url).map((url) => url.replace(/\/$/, ''));
  for (const url of new Set(urls)) {
    try {
      const log = await readS3ErasureLog(url, s3);
      if (log) logs.push(log);
    } catch (error) {
      onUnreachable(error);
    }
  }
  return logs;
}

/** Returns the real path of a file, or nothing if there is none. A file that cannot be reached is an error. */
function existingPath(path: string): string[] {
  try {
    return [fs.realpathSync(path)];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
