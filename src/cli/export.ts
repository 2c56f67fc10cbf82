import { SingleBar } from 'cli-progress';
import { replaceFile, writeStandardOutput } from '../durable-file.ts';
import { EXPORT_FORMATS, exportRecords } from '../export/export.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { isUserId, type Kind } from '../records.ts';
import { countRows, type RecordFilter } from '../storage/records.ts';
import { type CommandOptions, DATABASE_SETTINGS, defineCommand, oneOf, UsageError } from './command.ts';
import { openDatabase } from './open-database.ts';
import { escapeExport, isTerminal } from './output.ts';
import { protectedFiles } from './protected-files.ts';

const KINDS: Readonly<Record<'all' | 'metrics' | 'analytics', readonly Kind[]>> = {
  all: ['metric', 'analytics'],
  metrics: ['metric'],
  analytics: ['analytics'],
};

const OPTIONS = {
  what: {
    value: '<records>',
    help: 'records to export: all, metrics or analytics',
    default: 'all',
    parse: oneOf(keysOf(KINDS)),
  },
  format: {
    value: '<format>',
    help: `file format: ${EXPORT_FORMATS.join(', ')}; csv and parquet require --what metrics or --what analytics`,
    default: 'ndjson',
    parse: oneOf(EXPORT_FORMATS),
  },
  'user-id': { value: '<id>', help: 'export only the records of this user', parse: parseUserId },
  from: {
    value: '<time>',
    help: 'export only records at or after this RFC 3339 time, such as 2026-03-01T00:00:00Z',
    parse: parseTime,
  },
  to: { value: '<time>', help: 'export only records before this RFC 3339 time', parse: parseTime },
  formulas: {
    value: '<mode>',
    help: 'spreadsheet formulas in csv: keep (the default) or escape',
    parse: oneOf(['keep', 'escape']),
  },
} satisfies CommandOptions;

/** The command that exports records. */
export const exportCommand = defineCommand({
  name: 'export',
  summary: 'Export records to a file or to standard output; the server may be running',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Export all records', commandLine: 'rawlog export records.ndjson' },
    {
      purpose: 'Export the metrics of March 2026 as CSV',
      commandLine:
        'rawlog export --what metrics --format csv --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z march.csv',
    },
  ],
  argument: {
    form: '[file]',
    help: 'output file, replaced once the export is complete; omit it or pass - for standard output',
  },
  options: OPTIONS,
  check({ what, format, formulas, from, to }) {
    const errors: string[] = [];
    if (format !== 'ndjson' && what === 'all') {
      errors.push(`--format ${format} exports one kind of record per file: add --what metrics or --what analytics`);
    }
    if (format !== 'csv' && formulas !== undefined) errors.push('--formulas requires --format csv');
    if (from !== undefined && to !== undefined && from >= to) errors.push('--from should be before --to');
    return errors;
  },
  async run({ config: loadConfig }, { what, format, formulas, from, to, 'user-id': user }, file) {
    const config = loadConfig();
    const isPrinted = (file === '' || file === '-') && isTerminal();
    if (isPrinted && format === 'parquet')
      throw new UsageError('Parquet is binary: specify a file, or redirect the output');
    const filter: RecordFilter = { user, name: undefined, from, to };
    const client = openDatabase(config.databasePath);
    const bar = new SingleBar({
      format: '{bar} {percentage}% | {value} of {total} rows | {eta_formatted}',
      stream: process.stderr,
    });
    function* content(): Generator<Uint8Array> {
      for (const kind of KINDS[what]) {
        const query = { kind, format, filter, after: 0, safe: formulas === 'escape' };
        yield* exportRecords(client, query, (rows) => bar.increment(rows));
      }
    }
    try {
      bar.start(
        KINDS[what].reduce((sum, kind) => sum + countRows(client, kind), 0),
        0,
      );
      if (isPrinted) await writeStandardOutput(escapeExport(content()), protectedFiles(config));
      else if (file === '' || file === '-') await writeStandardOutput(content(), protectedFiles(config));
      else await replaceFile(file, content(), protectedFiles(config));
    } finally {
      bar.stop();
      client.close();
    }
    return 0;
  },
});

function parseTime(text: string): number {
  const time = parseTimestamp(text);
  if (time === undefined) throw new Error('should be an RFC 3339 time with an offset, such as 2026-03-01T00:00:00Z');
  return time;
}

function parseUserId(text: string): string {
  if (!isUserId(text)) throw new Error('should have 1 to 255 characters and no control characters');
  return text;
}

function keysOf<Key extends string>(table: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(table) as Key[]; // the table is a constant, so it has no other keys
}
