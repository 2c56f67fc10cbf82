import { isS3Url, type S3Access } from '../formats/s3.ts';
import { openBackupFolder } from './backup-folder.ts';
import { openS3Backups } from './s3-backups.ts';
import type { BackupStore } from './stored-backup.ts';

/** Opens the place of scheduled backups: a folder, or a prefix in S3. Nothing is read or created yet. */
export function openBackupStore(backupDir: string, s3: S3Access): BackupStore {
  return isS3Url(backupDir) ? openS3Backups(backupDir, s3) : openBackupFolder(backupDir);
}
