import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { openBackupSource } from '../backup/backup-source.ts';
import { DamagedBackupError } from '../backup/read.ts';
import { InvalidBackupError, type RestoreOutcome, restoreBackup } from '../backup/restore.ts';
import type { Config } from '../config.ts';
import { isS3Url, parseS3Object, s3FolderOf, s3UrlOf } from '../formats/s3.ts';
import { DATABASE_SETTINGS, defineCommand, flag, JSON_OPTION } from './command.ts';
import { countOf, print, report } from './output.ts';
import { S3_SETTINGS, s3AccessFor, s3Problem } from './s3.ts';

/** The command that restores a backup. */
export const restoreCommand = defineCommand({
  name: 'restore',
  summary: 'Verify a backup and restore the database from it; the server must be stopped',
  settings: [...DATABASE_SETTINGS, 'BACKUP_DIR', ...S3_SETTINGS],
  examples: [
    {
      purpose: 'Restore a backup on a new machine, with the copy of the erasure key that you kept',
      commandLine: 'rawlog restore backup.tar --erasure-key erasure-key --data-dir /var/lib/rawlog',
    },
    { purpose: 'Replace the database', commandLine: 'rawlog restore backup.tar --force' },
  ],
  argument: { form: '<file>', help: 'backup from "rawlog backup", or its s3:// address', check: s3Problem },
  options: {
    force: flag('replace an existing database'),
    'erasure-key': {
      value: '<path>',
      help: 'copy of the file erasure-key of the server (default: the one next to the database)',
      parse: (path: string) => path,
    },
    'without-later-erasures': flag('restore even if users who were erased after the backup cannot be erased again'),
    'keep-links': flag('keep the shared links of the backup, including those revoked since'),
    json: JSON_OPTION,
  },
  async run({ config: loadConfig }, { force, json, 'erasure-key': erasureKeyPath, ...options }, file) {
    const config = loadConfig();
    const { databasePath, backupDir } = config;
    const s3 = s3AccessFor(file, config);
    const bytes = new SingleBar({ format: '{bar} {percentage}% read', stream: process.stderr });
    const rows = new SingleBar({ format: '{bar} {percentage}% verified', stream: process.stderr });
    try {
      const source = await openBackupSource(file, s3);
      bytes.start(source.sizeBytes, 0);
      const outcome = await restoreBackup(
        source.bytes,
        {
          databasePath,
          overwrite: force ?? false,
          erasureKeyPath,
          logPlaces: [folderOf(file), ...(backupDir === undefined ? [] : [backupDir])],
          s3,
          withoutLaterErasures: options['without-later-erasures'] ?? false,
          keepLinks: options['keep-links'] ?? false,
        },
        {
          onBytes: (total) => bytes.update(total),
          onManifest(manifest) {
            bytes.stop();
            rows.start(manifest.rows.metrics + manifest.rows.analytics, 0);
          },
          onRows: (read) => rows.increment(read),
        },
      );
      rows.stop();
      print(json ? jsonOf(databasePath, outcome) : summaryOf(databasePath, outcome));
      for (const note of notesOn(outcome, config)) report(note);
      return 0;
    } catch (error) {
      if (!(error instanceof DamagedBackupError || error instanceof InvalidBackupError)) throw error;
      bytes.stop();
      rows.stop();
      print(error.message);
      report(`${file} is damaged. Nothing was restored.`);
      return 1;
    } finally {
      bytes.stop();
      rows.stop();
    }
  },
});

/** Returns the folder of a backup, or its prefix in S3. */
function folderOf(file: string): string {
  return isS3Url(file) ? s3UrlOf(s3FolderOf(parseS3Object(file))) : dirname(file);
}

function jsonOf(database: string, outcome: RestoreOutcome): string {
  const { created_at, rows, newest_id } = outcome.manifest;
  return JSON.stringify({
    ...{ database, created_at, rows, newest_id },
    later_erasures: outcome.laterErasures,
    erased_again: outcome.erasedAgain,
    skipped_erasures: outcome.skippedErasures,
    revoked_links: outcome.revokedLinks,
  });
}

function summaryOf(database: string, { manifest: { rows, created_at }, laterErasures, erasedAgain }: RestoreOutcome) {
  const restored = `${countOf(rows.metrics, 'metric')} and ${countOf(rows.analytics, 'event')}`;
  const erased = laterErasures > 0 ? ` Erased again: ${erasedAgain} of ${countOf(laterErasures, 'user')}.` : '';
  return `${database}: restored ${restored}, as of ${created_at}.${erased}`;
}

/** Returns what the operator should know. */
function notesOn(
  { skippedErasures, revokedLinks, isListUnreadable, isLogUnreadable, hasErasureSource, hasKey }: RestoreOutcome,
  config: Config,
): string[] {
  const notes: string[] = [];
  if (skippedErasures > 0) {
    notes.push(`Users who were erased after the backup and may be in the database again: ${skippedErasures}.`);
  }
  if (isListUnreadable) {
    notes.push(
      'The erasure list of the replaced database could not be read. Erasures that only this list contained were not repeated.',
    );
  }
  if (isLogUnreadable) {
    notes.push('The erasure log in S3 could not be read. Erasures that only this log contained were not repeated.');
  }
  if (!hasErasureSource) {
    notes.push(
      'There was neither an erasure log nor a database to replace: users who were erased after the backup may be in the database again.',
    );
  }
  if (revokedLinks > 0) {
    notes.push(
      `${countOf(revokedLinks, 'shared link')} revoked, because one may have been revoked after the backup. Share the boards again.`,
    );
  }
  if (!hasKey) {
    notes.push(
      'The key of the erasure list is missing. Importing old exports will restore users who were erased before the backup.',
    );
  }
  if (config.jwt.secret === 'generated' && !existsSync(join(config.dataDir, 'jwt-secret'))) {
    notes.push(
      'Backups contain no secrets: the next start of the server generates a new one, so all tokens must be issued again.',
    );
  }
  return notes;
}
