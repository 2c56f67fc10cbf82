import fs from 'node:fs';
import { join } from 'node:path';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { LABELS, NAMES, pick, prepareMetricInsert, USERS } from './metric-rows.ts';

/** Rows per transaction: enough to make the cost of a commit negligible. */
const BATCH = 20_000;

/**
 * Creates the database of a data folder and fills it with metrics received one per millisecond up to now, so that a
 * server started on it assigns higher keys than the existing ones.
 *
 * @returns the insert rate in rows per second, and the size of the synced file in megabytes
 */
export function fillDatabase(dataDir: string, rows: number, names = NAMES): { rate: number; megabytes: number } {
  const path = join(dataDir, 'rawlog.db');
  const storage = openStorage(path);
  // losing this database does no harm, so it is synced only once, at the end
  storage.client.run('PRAGMA synchronous = OFF');
  const insert = prepareMetricInsert(storage.client);
  let clock = Date.now() - rows;
  const nextId = createIdSource(() => clock, 0);
  const began = performance.now();
  for (let row = 0; row < rows; ) {
    storage.client.run('BEGIN IMMEDIATE');
    for (const end = Math.min(row + BATCH, rows); row < end; row++) {
      clock++;
      const { id, seq } = nextId();
      const time = clock * 1000;
      // the factors are coprime to the list lengths, so that users, names and labels mix
      insert.run(seq, id, pick(USERS, row * 7), time, time, pick(names, row * 3), row * 1.5, pick(LABELS, row * 11));
    }
    storage.client.run('COMMIT');
  }
  const rate = (rows / (performance.now() - began)) * 1000;
  insert.finalize();
  storage.close();
  const file = fs.openSync(path, 'r+');
  fs.fsyncSync(file);
  fs.closeSync(file);
  return { rate, megabytes: fs.statSync(path).size / 2 ** 20 };
}
