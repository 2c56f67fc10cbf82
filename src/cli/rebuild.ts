import { runJob } from '../storage/job.ts';
import { defineCommand } from './command.ts';
import { openOffline } from './open-database.ts';
import { report } from './output.ts';

/** Rebuilds the column store from the rows. */
export const rebuildCommand = defineCommand({
  name: 'rebuild',
  summary: 'rebuild the column store, which charts are read from; the server must be stopped',
  async run({ config }) {
    using database = openOffline(config().databasePath);
    runJob(database.reader.store.rebuild());
    report('The column store was rebuilt.');
    return 0;
  },
});
