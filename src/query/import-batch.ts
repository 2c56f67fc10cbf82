import { parseExported } from '../export/encode.ts';
import type { Kind, LogRecord } from '../records.ts';
import { markImporting } from '../storage/columns/rebuild.ts';
import { finishDeletions } from '../storage/deletion.ts';
import { createImporter, type ImportOutcome } from '../storage/import.ts';
import type { Job } from '../storage/job.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { openRecordSources } from '../storage/record-sources.ts';

/** Lines parsed per step: a few milliseconds, unless lines are long. */
const LINES_PER_STEP = 200;

/** Exported records to import while the server records. */
export interface ImportBatch {
  /** The records as JSON lines. */
  readonly text: string;
  /** The latest accepted time, in microseconds since 1970. */
  readonly latest: number;
  /** Every key that the server assigns from now on is greater than this one. All earlier ones are committed. */
  readonly newestSeq: number;
}

/** The outcomes of a batch. */
export interface ImportedBatch {
  /** One per record, in order; fewer if the batch failed. */
  readonly outcomes: ImportOutcome[];
  /** Why the rest of the batch was not stored. */
  readonly failure?: string;
}

/**
 * Imports a batch of records, in transactions of at most about 20 ms. Every record is validated before the first is stored.
 * The column store lacks the records until it is rebuilt: see {@link markImporting}.
 *
 * @throws {Error} if a record is invalid or too new, or nothing could be stored; nothing is stored then
 */
export function* importBatch(storage: ReaderStorage, batch: ImportBatch): Job<ImportedBatch> {
  const { client, list, deletions } = storage;
  // or the next start would delete imported records too
  if (deletions.unfinished().length > 0) yield* finishDeletions(storage);
  let records = yield* parse(batch);
  const importer = createImporter({
    client,
    stampWal() {},
    isErased: list.isErased,
    onFirstStored: markImporting,
    maxSeq: batch.newestSeq,
  });
  const outcomes: ImportOutcome[] = [];
  while (records.length > 0) {
    try {
      const done = importer.store(records);
      outcomes.push(...done);
      records = records.slice(done.length);
    } catch (error) {
      if (outcomes.length === 0) throw error;
      return { outcomes, failure: (error as Error).message }; // SQLite throws nothing else
    }
    yield;
  }
  return { outcomes };
}

/** IDs looked up per step: about 2 ms. */
const IDS_PER_STEP = 500;

/** IDs of records in another database. */
export interface SourceIds {
  readonly kind: Kind;
  readonly ids: readonly string[];
}

/** Returns which of some IDs of another database no stored record has, as indexes. */
export function* findMissingSources({ client }: ReaderStorage, { kind, ids }: SourceIds): Job<number[]> {
  const sources = openRecordSources(client);
  const missing: number[] = [];
  for (const [i, id] of ids.entries()) {
    if (i % IDS_PER_STEP === IDS_PER_STEP - 1) yield;
    if (!sources.find(kind, id)) missing.push(i);
  }
  return missing;
}

function* parse({ text, latest, newestSeq }: ImportBatch): Job<LogRecord[]> {
  const records: LogRecord[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (i % LINES_PER_STEP === LINES_PER_STEP - 1) yield;
    if (/^[ \t\r]*$/.test(line)) continue;
    const record = parseExported(line, latest);
    if (typeof record === 'string') throw new Error(`a line is not an exported record: ${record}`);
    if (record.seq > newestSeq) {
      throw new Error(
        'a record is newer than the newest ID of the server. Retry later, or stop the server to import it',
      );
    }
    records.push(record);
  }
  return records;
}
