import { isPostgresUrl } from '../formats/postgres-url.ts';
import { isS3Url } from '../formats/s3.ts';
import { checkSettingText } from '../formats/setting-text.ts';
import type { ImportOutcome } from '../storage/import.ts';
import { reasonOf } from '../system-error.ts';
import { type CommandOptions, defineCommand, JSON_OPTION, MIGRATION_SETTINGS, UsageError } from './command.ts';
import { importFile } from './import-file.ts';
import type { Outcomes } from './import-input.ts';
import { importPostgres, type PostgresImport, postgresProblem } from './import-postgres.ts';
import { downloadRecords } from './import-s3.ts';
import { countOf, print, report } from './output.ts';
import { S3_SETTINGS } from './s3.ts';

const OPTIONS = {
  'password-file': {
    value: '<path>',
    help: 'file with the password of the PostgreSQL user; otherwise PGPASSFILE or PGPASSWORD',
    parse: (path: string) => path,
  },
  json: JSON_OPTION,
} satisfies CommandOptions;

/** The command that imports exported records under their original IDs, or those of the original service. */
export const importCommand = defineCommand({
  name: 'import',
  summary: 'Import exported records, or those of a bucket or an AutoGPT database; the server may be running',
  settings: [...MIGRATION_SETTINGS, 'MAX_CLOCK_SKEW', ...S3_SETTINGS],
  examples: [
    {
      purpose: 'Import an export; records that are already stored are kept',
      commandLine: 'rawlog import records.ndjson',
    },
    {
      purpose: 'Copy all records to another data folder',
      commandLine: 'rawlog export | rawlog import - --data-dir /var/lib/rawlog',
    },
    {
      purpose: 'Import the records that were forwarded to a bucket',
      commandLine: 'rawlog import s3://bucket/prefix',
    },
    {
      purpose: 'Import the analytics of an AutoGPT database',
      commandLine: "rawlog import 'postgres://me@db.internal/postgres?schema=platform' --password-file /run/pw",
    },
  ],
  argument: {
    form: '<file>',
    help: 'NDJSON file from "rawlog export" or GET /api/export/…; - for standard input; s3://BUCKET/PREFIX with Parquet objects; or postgres://USER@HOST/DATABASE',
    check: postgresProblem,
  },
  options: OPTIONS,
  async run({ config, readFile }, { 'password-file': passwordFile, json }, file) {
    if (isPostgresUrl(file)) {
      const password = passwordFile === undefined ? undefined : readPassword(readFile, passwordFile);
      const result = await importPostgres(file, password, config());
      return json ? printPostgresJson(result) : printPostgres(result);
    }
    if (passwordFile !== undefined) throw new UsageError('--password-file is only for postgres:// URLs');
    const loaded = config();
    using downloaded = isS3Url(file) ? await downloadRecords(file, loaded) : undefined;
    const outcomes = await importFile(downloaded?.path ?? file, loaded);
    return json ? printJson(outcomes) : printOutcomes(outcomes);
  },
});

/** @throws {UsageError} if it is not a password */
function readPassword(readFile: (path: string) => string, path: string): string {
  let text: string;
  try {
    text = readFile(path).replace(/\r?\n$/, '');
  } catch (error) {
    throw new UsageError(`The file of --password-file cannot be read: ${reasonOf(error, path)}`);
  }
  try {
    if (text === '') throw new Error('is empty');
    checkSettingText(text);
    return text;
  } catch (error) {
    throw new UsageError(`The file of --password-file ${(error as Error).message}`); // nothing else is thrown
  }
}

/** Prints the outcomes of lines. Returns the exit status. */
function printOutcomes({ stored, identical, erased, different, occupied }: Outcomes): number {
  const skipped = erased.count > 0 ? `; skipped ${erased.count} of erased users` : '';
  print(`Imported ${countOf(stored.count, 'record')}; ${identical.count} already stored${skipped}.`);
  if (different.count > 0) {
    report(
      `${countOf(different.count, 'record')} not stored: different records with the same IDs exist. ${lineList(different)}`,
    );
  }
  if (occupied.count > 0) {
    report(
      `${countOf(occupied.count, 'record')} not stored: no free key for the time of their IDs. Run the command again. ${lineList(occupied)}`,
    );
  }
  return different.count + occupied.count > 0 ? 1 : 0;
}

function lineList({ count, lines }: Outcomes[ImportOutcome]): string {
  const noun = count > 1 ? 'Lines' : 'Line';
  return `${noun} ${lines.join(', ')}${count > lines.length ? ', …' : '.'}`;
}

function printJson(outcomes: Outcomes): number {
  const counts = Object.entries(outcomes).map(([outcome, { count }]) => [outcome, count]);
  print(JSON.stringify(Object.fromEntries(counts)));
  return outcomes.different.count + outcomes.occupied.count > 0 ? 1 : 0;
}

/** Prints what became of the rows of a PostgreSQL database. Returns the exit status. */
function printPostgres({ outcomes, invalid, newer }: PostgresImport): number {
  const { stored, identical, erased, different, occupied } = outcomes;
  const skipped = erased > 0 ? `; skipped ${erased} of erased users` : '';
  print(`Imported ${countOf(stored, 'record')}; ${identical} already stored${skipped}.`);
  if (newer > 0) {
    report(`${countOf(newer, 'row')} created after the import began. Run the command again to import them.`);
  }
  if (different > 0) report(`${countOf(different, 'record')} not stored: already imported with different content.`);
  if (occupied > 0)
    report(`${countOf(occupied, 'record')} not stored: no free key for the time. Run the command again.`);
  for (const [reason, { rows, ids }] of invalid) {
    const first = ids.length > 0 ? ` First IDs: ${ids.join(', ')}.` : '';
    report(`${countOf(rows, 'row')} not imported: ${reason}.${first}`);
  }
  return statusOf({ outcomes, invalid });
}

function printPostgresJson({ outcomes, invalid, newer }: PostgresImport): number {
  const reasons = [...invalid].map(([reason, { rows, ids }]) => ({ reason, rows, ids }));
  print(JSON.stringify({ ...outcomes, newer, invalid: reasons }));
  return statusOf({ outcomes, invalid });
}

function statusOf({ outcomes, invalid }: Omit<PostgresImport, 'newer'>): number {
  return outcomes.different + outcomes.occupied + invalid.size > 0 ? 1 : 0;
}
