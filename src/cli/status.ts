import { statSync } from 'node:fs';
import { createLedger } from '../ingest/ledger.ts';
import { readLedger } from '../storage/ledger.ts';
import { DATABASE_SETTINGS, defineCommand } from './command.ts';
import { openDatabase } from './open-database.ts';
import { print } from './output.ts';

/** The command that prints the ledger and the file sizes of the database. */
export const statusCommand = defineCommand({
  name: 'status',
  summary: 'Print the ledger and the size of the database as JSON; the server may be running',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Show the ledger and file sizes', commandLine: 'rawlog status' },
    { purpose: 'Print the number of stored rows', commandLine: 'rawlog status | jq .ledger.stored' },
  ],
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
