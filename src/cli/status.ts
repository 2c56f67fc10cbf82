import { statSync } from 'node:fs';
import { createLedger } from '../ingest/ledger.ts';
import { readLedger } from '../storage/ledger.ts';
import { defineCommand } from './command.ts';
import { openDatabase } from './open-database.ts';
import { print } from './output.ts';

/** Prints what the database has. */
export const statusCommand = defineCommand({
  name: 'status',
  summary: 'print the ledger and sizes of the database; the server may be running',
  async run({ config }) {
    const path = config().databasePath;
    const client = openDatabase(path);
    try {
      const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      const storage = { database: path, database_bytes: size(path), wal_bytes: size(`${path}-wal`) };
      print(JSON.stringify({ ledger: createLedger(readLedger(client)).counts(), storage }, null, 2));
    } finally {
      client.close();
    }
    return 0;
  },
});
