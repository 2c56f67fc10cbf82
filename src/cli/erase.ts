import { isUserId } from '../records.ts';
import { eraseUser } from '../storage/erasure.ts';
import { runJob } from '../storage/job.ts';
import { DATABASE_SETTINGS, defineCommand } from './command.ts';
import { openOffline } from './open-database.ts';
import { countOf, print } from './output.ts';

/** The command that erases a user. */
export const eraseCommand = defineCommand({
  name: 'erase',
  summary: 'Erase a user and all of their records; the server must be stopped',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Erase user-42 while the server is stopped', commandLine: 'rawlog erase user-42' },
    {
      purpose: 'Erase user-42 while the server is running, with an admin token',
      commandLine:
        'curl -X DELETE http://127.0.0.1:3000/api/users/user-42 -H "Authorization: Bearer $(rawlog token --sub me --role admin)"',
    },
  ],
  argument: {
    form: '<user>',
    help: 'user ID',
    check: (user) =>
      isUserId(user) ? undefined : 'The user ID should have 1 to 255 characters and no control characters',
  },
  async run({ config }, _options, user) {
    using database = openOffline(config().databasePath);
    const { metrics, analytics } = runJob(eraseUser(database.reader, user));
    print(`Erased ${countOf(metrics, 'metric')} and ${countOf(analytics, 'event')}.`);
    return 0;
  },
});
