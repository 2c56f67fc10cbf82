import { closeSync, createReadStream, fstatSync, openSync, statSync, writeSync } from 'node:fs';
import { SingleBar } from 'cli-progress';
import { parseExported } from '../export/encode.ts';
import type { LogRecord } from '../records.ts';
import type { ImportOutcome } from '../storage/import.ts';
import { readLines } from './lines.ts';
import { createUnlinkedFile } from './unlinked-file.ts';

/*
 * The input of an import: a file of exported records, one per line, which is read twice.
 */

/** Maximum line length: sixteen times the default MAX_BODY_BYTES. */
export const MAX_LINE_BYTES = 16 * 1024 ** 2;
/** Maximum size of a batch: records, and bytes of their lines. */
const BATCH_ROWS = 1_000;
const BATCH_BYTES = 1024 ** 2;
/** Maximum number of lines listed per problem. */
const MAX_LISTED_LINES = 20;

/** The number of lines per outcome, and the first line numbers of each. */
export type Outcomes = Record<ImportOutcome, { count: number; lines: number[] }>;

/** Returns the outcomes of no lines. */
export function noOutcomes(): Outcomes {
  const none = () => ({ count: 0, lines: [] });
  return { stored: none(), identical: none(), different: none(), occupied: none(), erased: none() };
}

/** Adds the outcomes of some lines. */
export function addOutcomes(outcomes: Outcomes, done: readonly ImportOutcome[], lines: readonly number[]): void {
  for (const [i, outcome] of done.entries()) {
    const total = outcomes[outcome];
    if (total.count++ < MAX_LISTED_LINES) total.lines.push(lines[i] ?? 0);
  }
}

/**
 * Opens a file that can be read twice: once to check every line, and again to store them. Input that can be read only
 * once (standard input, a FIFO) is copied to an unlinked file, which disappears with the process however it ends. The
 * copy is in the folder of the database, which needs room for the records anyway. Other users cannot read it.
 */
export async function openInput(file: string, folder: string): Promise<number> {
  if (file !== '-') {
    const found = statSync(file);
    if (found.isFile()) return openSync(file, 'r');
    if (found.isDirectory()) throw new Error(`${file} is a folder. Specify a file.`);
  }
  const copy = createUnlinkedFile(folder);
  try {
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
export function checkLines(input: number, latest: number): number {
  const { size } = fstatSync(input);
  const problems: string[] = [];
  let count = 0;
  for (const { line, record } of readRecords(input, size, 'checked', latest)) {
    if (typeof record !== 'string') continue;
    if (count++ < MAX_LISTED_LINES) problems.push(`Line ${line} is not an exported record: ${record}.`);
  }
  if (count > MAX_LISTED_LINES) problems.push('…');
  if (count > 0) throw new Error([...problems, `Nothing was imported. Lines with errors: ${count}.`].join('\n'));
  return size;
}

/** A line with a record. */
export interface RecordLine {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
  readonly record: LogRecord;
}

/**
 * Reads the records of a checked file in batches.
 *
 * @param latest the latest accepted time, in microseconds since 1970
 * @throws {Error} if the file was modified since
 */
export function* readBatches(input: number, size: number, latest: number): Generator<RecordLine[]> {
  let batch: RecordLine[] = [];
  let batchBytes = 0;
  for (const { line, text, record } of readRecords(input, size, 'stored', latest)) {
    if (typeof record === 'string') {
      throw new Error(`The file was modified during the import: line ${line} is invalid.`);
    }
    batch.push({ line, text, record });
    batchBytes += text.length;
    if (batch.length < BATCH_ROWS && batchBytes < BATCH_BYTES) continue;
    yield batch;
    batch = [];
    batchBytes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** Parses every line that is not blank, and shows the progress. The reason takes the place of an invalid record. */
function* readRecords(
  input: number,
  size: number,
  activity: string,
  latest: number,
): Generator<{ line: number; text: string; record: LogRecord | string }> {
  const bar = new SingleBar({ format: `{bar} {percentage}% ${activity} | {eta_formatted}`, stream: process.stderr });
  bar.start(size, 0);
  try {
    for (const { number: line, text, isTooLong, bytesRead } of readLines(input, MAX_LINE_BYTES, size)) {
      if (text === undefined) {
        const record = isTooLong ? `it is longer than ${MAX_LINE_BYTES} bytes` : 'it is not UTF-8';
        yield { line, text: '', record };
      } else if (!/^[ \t\r]*$/.test(text)) {
        yield { line, text, record: parseExported(text, latest) };
      }
      if (line % 1000 === 0) bar.update(bytesRead);
    }
    bar.update(size);
  } finally {
    bar.stop();
  }
}
