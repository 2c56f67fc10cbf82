import { randomUUID } from 'node:crypto';
import { closeSync, constants, createReadStream, fstatSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import type { Config } from '../config.ts';
import { makeDurableFolder } from '../durable-folder.ts';
import { parseExported } from '../export/encode.ts';
import type { LogRecord } from '../records.ts';
import { finishDeletions } from '../storage/deletion.ts';
import { createImporter, type ImportOutcome } from '../storage/import.ts';
import { runJob } from '../storage/job.ts';
import { DATABASE_SETTINGS, defineCommand } from './command.ts';
import { readLines } from './lines.ts';
import { hasDatabase, openOffline } from './open-database.ts';
import { countOf, print, report } from './output.ts';

/** Maximum line length: sixteen times the default MAX_BODY_BYTES. */
const MAX_LINE_BYTES = 16 * 1024 ** 2;
/** Maximum size of a batch: records, and bytes of their lines. */
const BATCH_ROWS = 1_000;
const BATCH_BYTES = 1024 ** 2;
/** Maximum number of lines listed per problem. */
const MAX_LISTED_LINES = 20;

/** The command that imports exported records under their original IDs. */
export const importCommand = defineCommand({
  name: 'import',
  summary: 'Import exported records under their original IDs; the server must be stopped',
  settings: [...DATABASE_SETTINGS, 'MAX_CLOCK_SKEW'],
  examples: [
    {
      purpose: 'Restore a backup; records that are already stored are kept',
      commandLine: 'rawlog import backup.ndjson',
    },
    {
      purpose: 'Copy all records to another data folder',
      commandLine: 'rawlog export | rawlog import - --data-dir /var/lib/rawlog',
    },
  ],
  argument: {
    form: '<file>',
    help: 'NDJSON file from "rawlog export" or GET /api/export/…; - for standard input',
  },
  async run({ config }, _options, file) {
    return printOutcomes(await importFile(file, config()));
  },
});

/** Imports a file. When it resolves, the records are durable and the database is closed. */
async function importFile(file: string, { databasePath, maxClockSkewUs }: Config): Promise<Outcomes> {
  // opened first, so that a running server is reported before anything is read
  using existing = hasDatabase(databasePath) ? openOffline(databasePath) : undefined;
  const input = await openInput(file, dirname(databasePath));
  try {
    const latest = Date.now() * 1000 + maxClockSkewUs;
    const size = checkLines(input, latest);
    using created = existing ? undefined : openOffline(databasePath, { create: true });
    const database = existing ?? created;
    if (!database) throw new Error('the database is not open'); // unreachable: one of the two is open
    runJob(finishDeletions(database.reader)); // or the next start would delete imported records too
    const importer = createImporter(database.storage, database.reader.list.isErased);
    const outcomes = storeLines(input, size, latest, importer.store);
    await importer.finish();
    const { store } = database.reader;
    store.reload();
    runJob(store.finishRebuild());
    runJob(store.catchUp());
    runJob(store.seal());
    return outcomes;
  } finally {
    closeSync(input);
  }
}

/** The number of lines per outcome, and the first line numbers of each. */
type Outcomes = Record<ImportOutcome, { count: number; lines: number[] }>;

/** Prints the outcomes. Returns the exit status. */
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
      `${countOf(occupied.count, 'record')} not stored: IDs that share the time part with IDs of other records. ${lineList(occupied)}`,
    );
  }
  return different.count + occupied.count > 0 ? 1 : 0;
}

function lineList({ count, lines }: Outcomes[ImportOutcome]): string {
  const noun = count > 1 ? 'Lines' : 'Line';
  return `${noun} ${lines.join(', ')}${count > lines.length ? ', …' : '.'}`;
}

/**
 * Opens a file that can be read twice: once to check every line, and again to store them. Input that can be read only
 * once (standard input, a FIFO) is copied to an unlinked file, which disappears with the process however it ends. The
 * copy is in the folder of the database, which needs room for the records anyway. Other users cannot read it.
 */
async function openInput(file: string, folder: string): Promise<number> {
  if (file !== '-') {
    const found = statSync(file);
    if (found.isFile()) return openSync(file, 'r');
    if (found.isDirectory()) throw new Error(`${file} is a folder. Specify a file.`);
  }
  makeDurableFolder(folder);
  const path = join(folder, `.rawlog-${randomUUID()}.tmp`);
  const copy = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    rmSync(path);
    const source = file === '-' ? createReadStream('', { fd: 0, autoClose: false }) : createReadStream(file);
    for await (const bytes of source as AsyncIterable<Uint8Array>) {
      for (let at = 0; at < bytes.length; ) at += writeSync(copy, bytes, at);
    }
    return copy;
  } catch (error) {
    closeSync(copy);
    throw error;
  }
}

/**
 * Checks every line.
 *
 * @returns the number of bytes that were checked; bytes appended later are not imported
 * @throws {Error} with the first invalid lines and their total number
 */
function checkLines(input: number, latest: number): number {
  const { size } = fstatSync(input);
  const problems: string[] = [];
  let count = 0;
  eachRecord(input, size, 'checked', latest, (line, record) => {
    if (typeof record !== 'string') return;
    if (count++ < MAX_LISTED_LINES) problems.push(`Line ${line} is not an exported record: ${record}.`);
  });
  if (count > MAX_LISTED_LINES) problems.push('…');
  if (count > 0) throw new Error([...problems, `Nothing was imported. Lines with errors: ${count}.`].join('\n'));
  return size;
}

/** Stores the records of all lines in batches. */
function storeLines(
  input: number,
  size: number,
  latest: number,
  store: (records: readonly LogRecord[]) => ImportOutcome[],
): Outcomes {
  const none = () => ({ count: 0, lines: [] });
  const outcomes: Outcomes = {
    stored: none(),
    identical: none(),
    different: none(),
    occupied: none(),
    erased: none(),
  };
  let batch: { line: number; record: LogRecord }[] = [];
  let batchBytes = 0;
  const storeBatch = () => {
    while (batch.length > 0) {
      const done = store(batch.map(({ record }) => record));
      for (const [i, outcome] of done.entries()) {
        const total = outcomes[outcome];
        if (total.count++ < MAX_LISTED_LINES) total.lines.push(batch[i]?.line ?? 0);
      }
      batch = batch.slice(done.length);
    }
    batchBytes = 0;
  };
  eachRecord(input, size, 'stored', latest, (line, record, bytes) => {
    if (typeof record === 'string')
      throw new Error(`The file was modified during the import: line ${line} is invalid.`);
    batch.push({ line, record });
    batchBytes += bytes;
    if (batch.length === BATCH_ROWS || batchBytes >= BATCH_BYTES) storeBatch();
  });
  storeBatch();
  return outcomes;
}

/** Parses every line that is not blank. For an invalid line, `visit` receives the reason in place of a record. */
function eachRecord(
  input: number,
  size: number,
  activity: string,
  latest: number,
  visit: (line: number, record: LogRecord | string, length: number) => void,
): void {
  const bar = new SingleBar({ format: `{bar} {percentage}% ${activity} | {eta_formatted}`, stream: process.stderr });
  bar.start(size, 0);
  try {
    for (const { number, text, isTooLong, bytesRead } of readLines(input, MAX_LINE_BYTES, size)) {
      if (text === undefined) {
        visit(number, isTooLong ? `it is longer than ${MAX_LINE_BYTES} bytes` : 'it is not UTF-8', 0);
      } else if (!/^[ \t\r]*$/.test(text)) {
        visit(number, parseExported(text, latest), text.length);
      }
      if (number % 1000 === 0) bar.update(bytesRead);
    }
    bar.update(size);
  } finally {
    bar.stop();
  }
}
