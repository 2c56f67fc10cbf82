import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { AuditLog } from '../../responses.ts';
import { readAuditLog } from '../../storage/audit-reader.ts';
import type { UserHash } from '../../storage/erasure-list.ts';
import { authenticateAdmin } from '../auth.ts';
import { documentAuditLog } from '../openapi.ts';
import { documentParameters, integer, readQuery } from '../parameters.ts';
import { CURSOR, cursorOf, USER_ID } from '../query-parameters.ts';

/** Dependencies of the audit log route. */
export interface AuditLogParts {
  readonly verify: CachedVerifier;
  readonly databasePath: string;
  readonly hashUser: UserHash;
}

const DEFAULT_LIMIT = 100;
const PARAMETERS = {
  user_id: { ...USER_ID, description: 'Only entries about this user: as the subject, or as the admin.' },
  limit: integer('Maximum number of entries per page.', 1, 1000, DEFAULT_LIMIT),
  cursor: CURSOR,
};

/** Creates the route that lists the entries of the audit log. */
export function auditLogRoutes({ verify, databasePath, hashUser }: AuditLogParts) {
  return new Elysia({ name: 'audit' }).get(
    '/api/audit',
    async ({ request }): Promise<AuditLog> => {
      await authenticateAdmin(request.headers, verify);
      const { user_id, limit = DEFAULT_LIMIT, cursor } = readQuery(request, PARAMETERS);
      const user = user_id === undefined ? undefined : hashUser(user_id).toString('base64url');
      const { entries, next } = readAuditLog(databasePath, { limit, before: cursor, user });
      return { entries: entries.map(toResponse), next_cursor: next === undefined ? null : cursorOf(next) };
    },
    { detail: documentAuditLog(documentParameters(PARAMETERS)) },
  );
}

/** Copies the lists of an entry, which are read-only. */
function toResponse(entry: ReturnType<typeof readAuditLog>['entries'][number]): AuditLog['entries'][number] {
  return entry.action === 'act-as' ? { ...entry, users: [...entry.users] } : { ...entry };
}
