import { SingleBar } from 'cli-progress';
import { replaceFile, writeStandardOutput } from '../durable-file.ts';
import { EXPORT_FORMATS, exportRecords } from '../export/export.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { isUserId, type Kind } from '../records.ts';
import { countRows, type RecordFilter } from '../storage/records.ts';
import { type CommandOptions, defineCommand, oneOf } from './command.ts';
import { openDatabase } from './open-database.ts';
import { protectedFiles } from './protected-files.ts';

const KINDS: Readonly<Record<'all' | 'metrics' | 'analytics', readonly Kind[]>> = {
  all: ['metric', 'analytics'],
  metrics: ['metric'],
  analytics: ['analytics'],
};

const OPTIONS = {
  what: { value: '<records>', help: 'all, metrics, analytics', default: 'all', parse: oneOf(keysOf(KINDS)) },
  format: { value: '<format>', help: EXPORT_FORMATS.join(', '), default: 'ndjson', parse: oneOf(EXPORT_FORMATS) },
  'user-id': { value: '<id>', help: 'only the records of this user', parse: parseUserId },
  from: { value: '<time>', help: 'only what happened then or later, in RFC 3339', parse: parseTime },
  to: { value: '<time>', help: 'only what happened before, in RFC 3339', parse: parseTime },
  formulas: {
    value: '<what>',
    help: 'for csv: keep (the default), or escape for spreadsheets',
    parse: oneOf(['keep', 'escape']),
  },
} satisfies CommandOptions;

/** Writes records to a file. */
export const exportCommand = defineCommand({
  name: 'export',
  summary: 'write records to a file, or to standard output; the server may be running',
  argument: {
    form: '[file]',
    help: 'the file; it is replaced once the export is complete. Without one, or with -: standard output',
  },
  options: OPTIONS,
  check({ what, format, formulas, from, to }) {
    const errors: string[] = [];
    if (format !== 'ndjson' && what === 'all') {
      errors.push(`--format ${format} has one kind of records per file: add --what metrics or --what analytics`);
    }
    if (format !== 'csv' && formulas !== undefined) errors.push('--formulas is only for --format csv');
    if (from !== undefined && to !== undefined && from >= to) errors.push('--from should be before --to');
    return errors;
  },
  async run({ config: load }, { what, format, formulas, from, to, 'user-id': user }, file) {
    const config = load();
    const filter: RecordFilter = { user, name: undefined, label: undefined, from, to };
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
      if (file === '' || file === '-') await writeStandardOutput(content(), protectedFiles(config));
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
  if (time === undefined) throw new Error('should be a time with an offset, in RFC 3339');
  return time;
}

function parseUserId(text: string): string {
  if (!isUserId(text)) throw new Error('should have 1 to 255 characters and no control characters');
  return text;
}

function keysOf<Key extends string>(table: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(table) as Key[]; // the table is a constant with these keys only
}
