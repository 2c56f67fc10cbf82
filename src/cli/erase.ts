import { isUserId } from '../records.ts';
import { openStorage } from '../storage/database.ts';
import { eraseUser } from '../storage/erasure.ts';
import { runJob } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import { type CliCommand, UsageError } from './command.ts';

/** Removes every trace of a user. */
export const eraseCommand: CliCommand = {
  name: 'erase',
  summary: 'remove every trace of a user; the server must be stopped (while it runs: DELETE /api/users/USER)',
  argument: { form: '<user>', help: 'the id of the user' },
  async run({ config }, _options, user) {
    if (!isUserId(user)) throw new UsageError('The user should have 1 to 255 characters and no control characters.');
    const path = config().databasePath;
    const storage = openStorage(path);
    const reader = openReader(path);
    try {
      const { metrics, analytics } = runJob(eraseUser(reader, user));
      console.log(`Removed ${metrics} metrics and ${analytics} events.`);
    } finally {
      reader.close();
      storage.close();
    }
    return 0;
  },
};
