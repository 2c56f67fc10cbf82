import { isUserId } from '../records.ts';
import { eraseUser } from '../storage/erasure.ts';
import { runJob } from '../storage/job.ts';
import { defineCommand } from './command.ts';
import { openOffline } from './open-database.ts';
import { print } from './output.ts';

/** Erases every trace of a user. */
export const eraseCommand = defineCommand({
  name: 'erase',
  summary: 'erase every trace of a user; the server must be stopped (while it runs: DELETE /api/users/USER)',
  argument: {
    form: '<user>',
    help: 'the ID of the user',
    check: (user) => (isUserId(user) ? undefined : 'The user should have 1 to 255 characters, no control characters'),
  },
  async run({ config }, _options, user) {
    using database = openOffline(config().databasePath);
    const { metrics, analytics } = runJob(eraseUser(database.reader, user));
    print(`Removed ${metrics} metrics and ${analytics} events.`);
    return 0;
  },
});
