import { createEngine } from '../query/engine.ts';
import { isUserId } from '../records.ts';
import { openForReading, openStorage } from '../storage/database.ts';
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
    const client = openForReading(path);
    try {
      const { metrics, analytics } = createEngine(client).erase(user);
      console.log(`Removed ${metrics} metrics and ${analytics} events.`);
    } finally {
      client.close();
      storage.close();
    }
    return 0;
  },
};
