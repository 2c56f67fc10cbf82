import type { Kind, LogRecord } from '../records.ts';
import { beginRebuild } from '../storage/columns/rebuild.ts';
import type { Database } from '../storage/database.ts';
import { finishDeletions } from '../storage/deletion.ts';
import { createImporter, type ImportOutcome } from '../storage/import.ts';
import { runJob } from '../storage/job.ts';
import { hasMovedCells, removeMovedCells } from '../storage/moved-cells.ts';
import { openRecordSources } from '../storage/record-sources.ts';
import { messageOf } from '../storage/storage-error.ts';
import type { OfflineDatabase } from './open-database.ts';

/** A record to import, and its line of JSON as in an export. */
export interface RecordText {
  readonly text: string;
  readonly record: LogRecord;
}

/** An import that has begun: in the running server, or in this process. */
export interface ImportSession {
  /** Stores records. Returns their outcomes, in order. */
  store(batch: readonly RecordText[]): Promise<readonly ImportOutcome[]>;
  /** Returns which of some IDs of another database were not imported, as ascending indexes. */
  missing(kind: Kind, sourceIds: readonly string[]): Promise<readonly number[]>;
}

/**
 * Imports into a database that only this process has open. When it resolves, the records are durable, and the column store
 * contains them.
 */
export async function importHere<Result>(
  { storage, reader }: OfflineDatabase,
  work: (session: ImportSession) => Promise<Result>,
): Promise<Result> {
  runJob(finishDeletions(reader)); // or the next start would delete imported records too
  const { client, stampWal, sync } = storage;
  const { isErased } = reader.list;
  const importer = createImporter({ client, stampWal, isErased, onFirstStored: beginRebuild });
  const sources = openRecordSources(client);
  const result = await work({
    async store(batch) {
      const outcomes: ImportOutcome[] = [];
      for (let rest = batch.map(({ record }) => record); rest.length > 0; ) {
        const done = importer.store(rest);
        outcomes.push(...done);
        rest = rest.slice(done.length);
      }
      return outcomes;
    },
    missing: async (kind, sourceIds) => sourceIds.flatMap((id, i) => (sources.find(kind, id) === undefined ? [i] : [])),
  });
  await sync();
  if (hasMovedCells(client)) compact(client);
  const { store } = reader;
  store.reload();
  runJob(store.finishRebuild());
  runJob(store.catchUp());
  runJob(store.seal());
  return result;
}

/** Removes old copies of rows that the import has moved. */
function compact(client: Database): void {
  try {
    removeMovedCells(client);
  } catch (error) {
    throw new Error(
      `The records are stored, but the database file could not be compacted: ${messageOf(error)}. Until it is, erasing a user may leave copies of their rows in the file: the next start after an erasure compacts it.`,
      { cause: error },
    );
  }
}
