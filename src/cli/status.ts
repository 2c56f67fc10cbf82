import { statSync } from 'node:fs';
import { createLedger } from '../ingest/ledger.ts';
import { openForReading } from '../storage/database.ts';
import { readLedger } from '../storage/ledger.ts';
import type { CliCommand } from './command.ts';

/** Prints what the database has; the server may run meanwhile. */
export const statusCommand: CliCommand = {
  name: 'status',
  summary: 'print the ledger and sizes of the database; the server may run meanwhile',
  async run({ config }) {
    const path = config().databasePath;
    const client = openForReading(path);
    try {
      const ledger = createLedger(readLedger(client)).counts();
      const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      const storage = { database: path, database_bytes: size(path), wal_bytes: size(`${path}-wal`) };
      console.log(JSON.stringify({ ledger, storage }, null, 2));
    } finally {
      client.close();
    }
    return 0;
  },
};
