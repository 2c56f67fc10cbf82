import { randomUUID } from 'node:crypto';
import { closeSync, constants, createReadStream, fstatSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import type { Config } from '../config.ts';
import { makeDurableFolder } from '../durable-folder.ts';
import { parseExported } from '../export/encode.ts';
import type { LogRecord } from '../records.ts';
import { createImporter, type Imported } from '../storage/import.ts';
import { runJob } from '../storage/job.ts';
import { defineCommand } from './command.ts';
import { readLines } from './lines.ts';
import { hasDatabase, openOffline } from './open-database.ts';
import { print, report } from './output.ts';

/** The longest line, in bytes: sixteen times the largest body that the server accepts by default. */
const MAX_LINE_BYTES = 16 * 1024 ** 2;
/** Records handed over at once: their number, and the bytes of their lines. */
const BATCH_ROWS = 1_000;
const BATCH_BYTES = 1024 ** 2;
/** How many lines are named of those with the same problem. */
const NAMED_LINES = 20;

/** Stores exported records under their IDs. */
export const importCommand = defineCommand({
  name: 'import',
  summary:
    'store exported records (NDJSON) under their IDs; those that are stored already stay as they are; the server must be stopped',
  argument: {
    form: '<file>',
    help: 'a file from "rawlog export" or GET /api/export/…; - reads standard input',
  },
  async run({ config }, _options, file) {
    return printOutcomes(await importFile(file, config()));
  },
});

/** Imports a file. On return its records are durable, and the database is closed. */
async function importFile(file: string, { databasePath, maxClockSkew }: Config): Promise<Outcomes> {
  // a server that has the database open is noticed before anything is read
  using existing = hasDatabase(databasePath) ? openOffline(databasePath) : undefined;
  const input = await openInput(file, dirname(databasePath));
  try {
    const latest = Date.now() * 1000 + maxClockSkew;
    const size = checkLines(input, latest);
    using created = existing ? undefined : openOffline(databasePath, { create: true });
    const database = existing ?? created;
    if (!database) throw new Error('there is no database'); // one of the two is
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

/** Lines by what became of their records: how many, and the first of them. */
type Outcomes = Record<Imported, { count: number; lines: number[] }>;

/** Prints what was done. Returns the exit status. */
function printOutcomes({ stored, identical, erased, different, occupied }: Outcomes): number {
  const skipped = erased.count > 0 ? `; ${erased.count} belong to erased users and were skipped` : '';
  print(`Imported ${stored.count} records; ${identical.count} were already stored${skipped}.`);
  if (different.count > 0) {
    report(`${different.count} records were not stored: other content is stored under their IDs. ${named(different)}`);
  }
  if (occupied.count > 0) {
    report(
      `${occupied.count} records were not stored: other records have the time parts of their IDs. ${named(occupied)}`,
    );
  }
  return different.count + occupied.count > 0 ? 1 : 0;
}

function named({ count, lines }: Outcomes[Imported]): string {
  const words = count > 1 ? 'Lines' : 'Line';
  return `${words} ${lines.join(', ')}${count > lines.length ? ', …' : '.'}`;
}

/**
 * Opens a file whose bytes can be read twice, which is what it takes to check every line before any is stored. What
 * can be read only once (standard input, a FIFO) is copied to a file without a name: it is gone with this process,
 * however that ends. It lies beside the database, where there is room and nobody else can read.
 */
async function openInput(file: string, folder: string): Promise<number> {
  if (file !== '-') {
    const found = statSync(file);
    if (found.isFile()) return openSync(file, 'r');
    if (found.isDirectory()) throw new Error(`${file} is a folder. Name a file.`);
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
 * @returns the bytes that were checked: what is appended meanwhile is not part of the import
 * @throws {Error} that names the first lines that are no exported records, and counts all
 */
function checkLines(input: number, latest: number): number {
  const { size } = fstatSync(input);
  const wrong: string[] = [];
  let count = 0;
  eachRecord(input, size, 'checked', latest, (line, record) => {
    if (typeof record !== 'string') return;
    if (count++ < NAMED_LINES) wrong.push(`Line ${line} is not an exported record: ${record}.`);
  });
  if (count > NAMED_LINES) wrong.push('…');
  if (count > 0) throw new Error([...wrong, `Nothing was imported. Lines with errors: ${count}.`].join('\n'));
  return size;
}

/** Stores the records of every line, batch by batch. */
function storeLines(
  input: number,
  size: number,
  latest: number,
  store: (records: readonly LogRecord[]) => Imported[],
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
        const place = outcomes[outcome];
        if (place.count++ < NAMED_LINES) place.lines.push(batch[i]?.line ?? 0);
      }
      batch = batch.slice(done.length);
    }
    batchBytes = 0;
  };
  eachRecord(input, size, 'stored', latest, (line, record, bytes) => {
    if (typeof record === 'string') throw new Error(`The file has changed since it was checked: line ${line}.`);
    batch.push({ line, record });
    batchBytes += bytes;
    if (batch.length === BATCH_ROWS || batchBytes >= BATCH_BYTES) storeBatch();
  });
  storeBatch();
  return outcomes;
}

/** Parses the lines of a file that are not blank. A record that cannot be parsed is what is wrong with it. */
function eachRecord(
  input: number,
  size: number,
  doing: string,
  latest: number,
  visit: (line: number, record: LogRecord | string, length: number) => void,
): void {
  const bar = new SingleBar({ format: `{bar} {percentage}% ${doing} | {eta_formatted}`, stream: process.stderr });
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
