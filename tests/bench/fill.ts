import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import { join } from 'node:path';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { addToLedger, STORED } from '../../src/storage/ledger.ts';
import { formOf } from '../../src/storage/row-form.ts';
import { LABELS, NAMES, pick, prepareMetricInsert, USERS } from './metric-rows.ts';

/** Rows per transaction: enough to make the cost of a commit negligible. */
const BATCH = 20_000;

/** What {@link fillDatabase} inserts. */
interface Filling {
  /** The names of the metrics. Default: 200. */
  readonly names?: readonly string[];
  /** How long before it was received a row happened, in milliseconds, by its number. Default: 0. */
  readonly ageMs?: (row: number) => number;
  /** Whether rows are stored as databases of older versions contain them: with whole IDs and times since 1970. */
  readonly isOlder?: boolean;
}

/**
 * Creates the database of a data folder and fills it with metrics received one per millisecond up to now, so that a
 * server started on it assigns higher keys than the existing ones.
 *
 * @returns the insert rate in rows per second, and the size of the synced file in megabytes
 */
export function fillDatabase(dataDir: string, rows: number, filling?: Filling): { rate: number; megabytes: number } {
  const path = join(dataDir, 'rawlog.db');
  const storage = openStorage(path);
  // losing this database does no harm, so it is synced only once, at the end
  storage.client.run('PRAGMA synchronous = OFF');
  const began = performance.now();
  insertMetrics(storage.client, rows, filling);
  const rate = (rows / (performance.now() - began)) * 1000;
  storage.close();
  const file = fs.openSync(path, 'r+');
  fs.fsyncSync(file);
  fs.closeSync(file);
  return { rate, megabytes: fs.statSync(path).size / 2 ** 20 };
}

/** Inserts the metrics of {@link fillDatabase} into a database of any version with a ledger, and counts them there. */
export function insertMetrics(
  client: Database,
  rows: number,
  { names = NAMES, ageMs = () => 0, isOlder = false }: Filling = {},
): void {
  const insert = prepareMetricInsert(client);
  let clock = Date.now() - rows;
  const nextId = createIdSource(() => clock, 0);
  for (let row = 0; row < rows; ) {
    client.run('BEGIN IMMEDIATE');
    for (const end = Math.min(row + BATCH, rows); row < end; row++) {
      clock++;
      const id = nextId();
      const receivedAt = clock * 1000;
      const stamp = { ...id, receivedAt, happenedAt: receivedAt - ageMs(row) * 1000 };
      const form = isOlder ? stamp : formOf(stamp);
      const [user, name, label] = [pick(USERS, row * 7), pick(names, row * 3), pick(LABELS, row * 11)]; // coprime factors mix them
      insert.run(id.seq, form.id, user, form.happenedAt, form.receivedAt, name, row * 1.5, label);
    }
    client.run('COMMIT');
  }
  insert.finalize();
  if (rows > 0) addToLedger(client, STORED, rows);
}
