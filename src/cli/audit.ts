import { existsSync } from 'node:fs';
import { isUserId } from '../records.ts';
import { auditLogPath } from '../storage/audit-log.ts';
import { readAuditLog } from '../storage/audit-reader.ts';
import { openUserHash } from '../storage/erasure-list.ts';
import { type CommandOptions, DATABASE_SETTINGS, defineCommand } from './command.ts';
import { print } from './output.ts';

/** Entries read at once. */
const PAGE_ENTRIES = 1_000;

const OPTIONS = {
  'user-id': {
    value: '<id>',
    help: 'print only entries about this user, as the subject or as the admin',
    parse(text: string): string {
      if (!isUserId(text)) throw new Error('should have 1 to 255 characters and no control characters');
      return text;
    },
  },
} satisfies CommandOptions;

/** The command that prints the audit log. */
export const auditCommand = defineCommand({
  name: 'audit',
  summary:
    'Print the audit log of erasures, deletions, recordings for other users and shared links, newest first, as JSON lines',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Print the last ten entries', commandLine: 'rawlog audit | head' },
    { purpose: 'Find out when user-42 was erased', commandLine: 'rawlog audit --user-id user-42' },
  ],
  options: OPTIONS,
  async run({ config }, { 'user-id': userId }) {
    const { databasePath } = config();
    if (!existsSync(auditLogPath(databasePath))) return 0; // and no key is created
    const user = userId === undefined ? undefined : openUserHash(databasePath)(userId).toString('base64url');
    let before: number | undefined;
    do {
      const page = readAuditLog(databasePath, { limit: PAGE_ENTRIES, before, user });
      for (const entry of page.entries) print(JSON.stringify(entry));
      before = page.next;
    } while (before !== undefined);
    return 0;
  },
});
