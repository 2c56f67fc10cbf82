import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { SingleBar } from 'cli-progress';
import { openBackupSource } from '../backup/backup-source.ts';
import { DamagedBackupError } from '../backup/read.ts';
import { verifyBackup } from '../backup/verify.ts';
import { isS3Url, type S3Access } from '../formats/s3.ts';
import { countRows } from '../storage/records.ts';
import { type Verification, verifyDatabase } from '../storage/verify.ts';
import { lowerPriority } from '../thread-priority.ts';
import { DATABASE_SETTINGS, defineCommand, JSON_OPTION } from './command.ts';
import { openDatabase } from './open-database.ts';
import { countOf, print, report } from './output.ts';
import { S3_SETTINGS, s3AccessFor, s3Problem } from './s3.ts';

/** The command that verifies the database or a backup. */
export const verifyCommand = defineCommand({
  name: 'verify',
  summary: 'Verify the pages, rows, column store and ledger of the database or of a backup; the server may be running',
  settings: [...DATABASE_SETTINGS, ...S3_SETTINGS],
  examples: [
    { purpose: 'Verify ./data/rawlog.db; the exit status is 1 if there are problems', commandLine: 'rawlog verify' },
    { purpose: 'Verify a backup, including each of its bytes', commandLine: 'rawlog verify backup.tar' },
  ],
  argument: {
    form: '[file]',
    help: 'backup from "rawlog backup", or its s3:// address; omit it to verify the database',
    check: s3Problem,
  },
  options: { json: JSON_OPTION },
  async run({ config, env }, { json = false }, file) {
    lowerPriority(); // a server on the same machine takes precedence
    if (file === '') return verifyLive(config().databasePath, json);
    const folder = env['TMPDIR'] || (isS3Url(file) ? tmpdir() : dirname(file));
    return verifyFile(file, s3AccessFor(file, config()), folder, json);
  },
});

/** Verifies the database. Returns the exit status. */
function verifyLive(path: string, json: boolean): number {
  const client = openDatabase(path);
  const bar = createRowBar();
  try {
    bar.start(countRows(client, 'metric') + countRows(client, 'analytics'), 0);
    const verification = verifyDatabase(client, (read) => bar.increment(read));
    bar.stop();
    return printVerification({ database: path }, path, verification, json);
  } finally {
    bar.stop();
    client.close();
  }
}

/**
 * Verifies a backup. Returns the exit status.
 *
 * @param folder the folder of the temporary copy
 */
async function verifyFile(file: string, s3: S3Access, folder: string, json: boolean): Promise<number> {
  const bytes = new SingleBar({ format: '{bar} {percentage}% read', stream: process.stderr });
  const rows = createRowBar();
  try {
    const source = await openBackupSource(file, s3);
    bytes.start(source.sizeBytes, 0);
    const { verification } = await verifyBackup(source.bytes, folder, {
      onBytes: (total) => bytes.update(total),
      onManifest({ rows: { metrics, analytics } }) {
        bytes.stop();
        rows.start(metrics + analytics, 0);
      },
      onRows: (read) => rows.increment(read),
    });
    rows.stop();
    return printVerification({ file }, file, verification, json);
  } catch (error) {
    if (!(error instanceof DamagedBackupError)) throw error;
    bytes.stop();
    print(json ? JSON.stringify({ file, problems: error.problems, omitted: error.omitted }) : error.message);
    report(`${file} is damaged.`);
    return 1;
  } finally {
    bytes.stop();
    rows.stop();
  }
}

function createRowBar(): SingleBar {
  return new SingleBar({ format: '{bar} {percentage}% | {value} of {total} rows', stream: process.stderr });
}

/** Prints the result of a verification. Returns the exit status. */
function printVerification(
  subject: { database: string } | { file: string },
  path: string,
  { problems, omitted, rows, chunks }: Verification,
  json: boolean,
): number {
  if (json) {
    const count = { metrics: rows.metric, analytics: rows.analytics };
    print(JSON.stringify({ ...subject, rows: count, chunks, problems, omitted }));
    return problems.length > 0 ? 1 : 0;
  }
  for (const problem of problems) print(problem);
  if (omitted > 0) print(`Problems not listed: ${omitted}.`);
  if (problems.length > 0) {
    report(`Problems found in ${path}: ${problems.length + omitted}.`);
    return 1;
  }
  print(
    `${path}: ${countOf(rows.metric, 'metric')}, ${countOf(rows.analytics, 'event')} and ${countOf(chunks, 'chunk')} verified.`,
  );
  return 0;
}
