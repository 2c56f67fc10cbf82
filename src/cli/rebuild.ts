import { openStorage } from '../storage/database.ts';
import { runJob } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import type { CliCommand } from './command.ts';

/** Makes what charts are read from anew, from the rows. */
export const rebuildCommand: CliCommand = {
  name: 'rebuild',
  summary: 'make the column store, from which charts are read, anew from the rows; the server must be stopped',
  async run({ config }) {
    const path = config().databasePath;
    const storage = openStorage(path);
    const reader = openReader(path);
    try {
      runJob(reader.store.rebuild());
    } finally {
      reader.close();
      storage.close();
    }
    console.error('The column store was made anew.');
    return 0;
  },
};
