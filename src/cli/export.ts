import { closeSync, openSync, writeSync } from 'node:fs';
import { SingleBar } from 'cli-progress';
import { EXPORT_FORMATS, exportRecords } from '../export/export.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import type { Kind } from '../records.ts';
import { openForReading } from '../storage/database.ts';
import { countRows, type RecordFilter } from '../storage/records.ts';
import { type CliCommand, UsageError } from './command.ts';

const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  all: ['metric', 'analytics'],
  metrics: ['metric'],
  analytics: ['analytics'],
};
/** The number of standard output, as a file. */
const STDOUT = 1;

/** Writes records to a file; the server may run meanwhile. */
export const exportCommand: CliCommand = {
  name: 'export',
  summary: 'write records to a file, or to standard output; the server may run meanwhile',
  argument: { form: '[file]', help: 'the file; it is replaced. Without one: standard output' },
  options: [
    { form: '--what <records>', help: `${Object.keys(KINDS).join(', ')}`, default: 'all' },
    { form: '--format <format>', help: EXPORT_FORMATS.join(', '), default: 'ndjson' },
    { form: '--user-id <id>', help: 'only the records of this user' },
    { form: '--from <time>', help: 'only what happened then or later, in RFC 3339' },
    { form: '--to <time>', help: 'only what happened before, in RFC 3339' },
    { form: '--formulas <what>', help: 'for csv: keep, or escape for spreadsheets', default: 'keep' },
  ],
  async run({ config }, options, file) {
    const kinds = KINDS[options['what'] ?? ''];
    if (!kinds) throw new UsageError(`--what should be one of ${Object.keys(KINDS).join(', ')}`);
    const format = EXPORT_FORMATS.find((one) => one === options['format']);
    if (!format) throw new UsageError(`--format should be one of ${EXPORT_FORMATS.join(', ')}`);
    if (format !== 'ndjson' && kinds.length > 1) {
      throw new UsageError(`--format ${format} has one kind of records a file: add --what metrics or --what analytics`);
    }
    const filter: RecordFilter = {
      user: options['userId'],
      name: undefined,
      label: undefined,
      from: timeOf('--from', options['from']),
      to: timeOf('--to', options['to']),
    };
    const client = openForReading(config().databasePath);
    const output = file === '' ? STDOUT : openSync(file, 'w');
    const bar = new SingleBar({
      format: '{bar} {percentage}% | {value} of {total} rows | {eta_formatted}',
      stream: process.stderr,
    });
    bar.start(
      kinds.reduce((sum, kind) => sum + countRows(client, kind), 0),
      0,
    );
    try {
      for (const kind of kinds) {
        const question = { kind, format, filter, after: 0, safe: options['formulas'] === 'escape' };
        for (const part of exportRecords(client, question, (rows) => bar.increment(rows))) writeAll(output, part);
      }
    } finally {
      bar.stop();
      if (output !== STDOUT) closeSync(output);
      client.close();
    }
    return 0;
  },
};

function timeOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = parseTimestamp(text);
  if (time === undefined) throw new UsageError(`${flag} should be a time with an offset, in RFC 3339`);
  return time;
}

function writeAll(output: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(output, bytes, at);
}
