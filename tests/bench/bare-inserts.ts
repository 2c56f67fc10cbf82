import { join } from 'node:path';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { prepareMetricInsert } from './metric-rows.ts';

/*
 * bun bare-inserts.ts FOLDER SECONDS ROWS
 *
 * The baseline for storage: inserts into the service's tables with a prepared statement and IDs generated in advance, in
 * the form in which recording stores them, ROWS rows per transaction, synced by SQLite. Prints rows per second.
 */
const [folder = '', seconds = '', rows = ''] = process.argv.slice(2);
const ROWS = Number(rows);

const { client, close } = openStorage(join(folder, 'bare.db'));
client.run('PRAGMA synchronous = FULL');
const insert = prepareMetricInsert(client);
const begin = client.prepare('BEGIN IMMEDIATE');
const commit = client.prepare('COMMIT');
const nextId = createIdSource(Date.now, 0);
const ids = Array.from({ length: ROWS }, () => nextId().randomPart);

let seq = 0;
const began = performance.now();
const end = began + Number(seconds) * 1000;
while (performance.now() < end) {
  begin.run();
  for (const id of ids) insert.run(++seq, id, 'user-1', 0, 0, 'page_load_time', 2.5, '/dashboard');
  commit.run();
}
console.log((seq / (performance.now() - began)) * 1000);
insert.finalize();
begin.finalize();
commit.finalize();
close();
