import { createEngine } from '../query/engine.ts';
import { openForReading, openStorage } from '../storage/database.ts';
import type { CliCommand } from './command.ts';

/** Makes what charts are read from anew, from the rows. */
export const rebuildCommand: CliCommand = {
  name: 'rebuild',
  summary: 'make the column store, from which charts are read, anew from the rows; the server must be stopped',
  async run({ config }) {
    const path = config().databasePath;
    const storage = openStorage(path);
    const client = openForReading(path);
    try {
      createEngine(client).rebuild();
    } finally {
      client.close();
      storage.close();
    }
    console.error('The column store was made anew.');
    return 0;
  },
};
