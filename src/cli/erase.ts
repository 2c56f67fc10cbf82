import { randomUUID } from 'node:crypto';
import { openErasureLog } from '../backup/erasure-logs.ts';
import { escapeControls } from '../formats/visible-text.ts';
import { isUserId } from '../records.ts';
import { openAuditLog } from '../storage/audit-log.ts';
import { eraseUser } from '../storage/erasure.ts';
import { openUserHash } from '../storage/erasure-list.ts';
import { sinksWithRowsOf } from '../storage/sink-erasures.ts';
import { messageOf } from '../storage/storage-error.ts';
import { defineCommand, JSON_OPTION, MIGRATION_SETTINGS } from './command.ts';
import { countOf, print, report } from './output.ts';
import { runInServerOrHere } from './run-command.ts';
import { S3_SETTINGS } from './s3.ts';

/** The command that erases a user. */
export const eraseCommand = defineCommand({
  name: 'erase',
  summary: 'Erase a user and all of their records; the server may be running',
  settings: [...MIGRATION_SETTINGS, ...S3_SETTINGS],
  examples: [
    { purpose: 'Erase user-42', commandLine: 'rawlog erase user-42' },
    {
      purpose: 'Erase user-42 in the database of a service',
      commandLine: 'rawlog erase user-42 --data-dir /var/lib/rawlog',
    },
  ],
  argument: {
    form: '<user>',
    help: 'user ID',
    check: (user) =>
      isUserId(user) ? undefined : 'The user ID should have 1 to 255 characters and no control characters',
  },
  options: { json: JSON_OPTION },
  async run({ config }, { json }, user) {
    const { databasePath, backupDir, s3 } = config();
    const { metrics, analytics, pending } = await runInServerOrHere(
      config(),
      'erase',
      { user_id: user },
      async ({ reader }, run) => {
        const audit = openAuditLog(databasePath, openUserHash(databasePath), Date.now, (error) => {
          report(`The erasure could not be completed in the audit log: ${messageOf(error)}`);
        });
        const actor = { userId: undefined, requestId: randomUUID() };
        return audit.erasure(actor, user, async () => {
          const erased = run(eraseUser(reader, user));
          if (backupDir !== undefined) {
            await openErasureLog(backupDir, () => s3, databasePath, reader.client).update();
          }
          return { ...erased, pending: sinksWithRowsOf(reader.client, user) };
        });
      },
    );
    const deleted = { metrics, analytics };
    if (json) print(JSON.stringify({ user_id: user, deleted, ...(pending.length > 0 && { pending }) }));
    else {
      print(`Erased ${countOf(metrics, 'metric')} and ${countOf(analytics, 'event')}.`);
      for (const sink of pending)
        print(`Not erased yet: ${escapeControls(sink)}. "rawlog forward list" shows when it is.`);
    }
    return 0;
  },
});
