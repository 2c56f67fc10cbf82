import { runJob } from '../storage/job.ts';
import { DATABASE_SETTINGS, defineCommand } from './command.ts';
import { openOffline } from './open-database.ts';
import { report } from './output.ts';

/** The command that rebuilds the column store from the rows. */
export const rebuildCommand = defineCommand({
  name: 'rebuild',
  summary: 'Rebuild the column store from the stored rows; the server must be stopped',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Rebuild the column store of ./data/rawlog.db', commandLine: 'rawlog rebuild' },
    { purpose: 'Rebuild it in another data folder', commandLine: 'rawlog rebuild --data-dir /var/lib/rawlog' },
  ],
  async run({ config }) {
    using database = openOffline(config().databasePath);
    runJob(database.reader.store.rebuild());
    report('The column store was rebuilt.');
    return 0;
  },
});
