import { openBackupStore } from '../../backup/backup-store.ts';
import type { Config } from '../../config.ts';
import { messageOf } from '../../storage/storage-error.ts';
import { type Finding, problemsOf } from './finding.ts';

/** Checks that BACKUP_DIR, a folder or a prefix in S3, can be listed. */
export async function checkBackups({ backupDir, s3 }: Config): Promise<Finding[]> {
  if (backupDir === undefined) return [];
  try {
    await openBackupStore(backupDir, s3).list();
    return [];
  } catch (error) {
    return [
      problemsOf('backups')(
        'BACKUP_DIR cannot be listed, so no backups are made, and erasures fail.',
        'Correct what the detail of this finding says, which "rawlog doctor" prints without --public.',
        messageOf(error),
      ),
    ];
  }
}
