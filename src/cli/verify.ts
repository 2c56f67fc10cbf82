import { SingleBar } from 'cli-progress';
import { countRows } from '../storage/records.ts';
import { verifyDatabase } from '../storage/verify.ts';
import { DATABASE_SETTINGS, defineCommand } from './command.ts';
import { openDatabase } from './open-database.ts';
import { countOf, print, report } from './output.ts';

/** The command that verifies the database. */
export const verifyCommand = defineCommand({
  name: 'verify',
  summary: 'Verify the pages, rows, column store and ledger of the database; the server may be running',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Verify ./data/rawlog.db; the exit status is 1 if there are problems', commandLine: 'rawlog verify' },
    {
      purpose: 'Verify a restored backup',
      commandLine: 'rawlog verify --database-url file:/var/backups/rawlog.db',
    },
  ],
  async run({ config }) {
    const path = config().databasePath;
    const client = openDatabase(path);
    const bar = new SingleBar({ format: '{bar} {percentage}% | {value} of {total} rows', stream: process.stderr });
    try {
      bar.start(countRows(client, 'metric') + countRows(client, 'analytics'), 0);
      const { problems, omitted, rows, chunks } = verifyDatabase(client, (read) => bar.increment(read));
      bar.stop();
      for (const problem of problems) print(problem);
      if (omitted > 0) print(`Problems not listed: ${omitted}.`);
      if (problems.length > 0) {
        report(`Problems found in ${path}: ${problems.length + omitted}.`);
        return 1;
      }
      print(
        `${path}: ${countOf(rows.metric, 'metric')}, ${countOf(rows.analytics, 'event')} and ${countOf(chunks, 'chunk')} verified.`,
      );
      return 0;
    } finally {
      bar.stop();
      client.close();
    }
  },
});
