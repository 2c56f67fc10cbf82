import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { DeletionQuery } from '../../query/engine.ts';
import type { Kind } from '../../records.ts';
import type { Deletion } from '../../responses.ts';
import type { Actor } from '../../storage/audit-log.ts';
import { authenticateAdmin } from '../auth.ts';
import { documentDeletion } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import { DELETION, recordFilter } from '../query-parameters.ts';

/** Dependencies of the deletion routes. */
export interface DeletionParts {
  readonly verify: CachedVerifier;
  /**
   * Deletes the records that match a filter, or only counts them in a dry run. Resolves with their number, once queries no
   * longer return them.
   */
  readonly deleteRecords: (query: DeletionQuery, isDryRun: boolean, actor: Actor) => Promise<number>;
  readonly log: Logger;
  /** Returns a keyed hash of a user ID, because log lines survive an erasure. */
  readonly hashForLog: (userId: string) => string;
}

/** The properties of Elysia's context that a handler needs. */
interface DeletionContext {
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
  readonly requestId: string;
}

/** Creates the routes that delete records by name. */
export function deletionRoutes({ verify, deleteRecords, log, hashForLog }: DeletionParts) {
  async function deleteMatching(kind: Kind, { request, server, requestId }: DeletionContext): Promise<Deletion> {
    const { userId: admin } = await authenticateAdmin(request.headers, verify);
    const { dry_run = false, ...query } = readQuery(request, DELETION[kind]);
    const name = 'name' in query ? query.name : query.type;
    // a deletion may take longer than the idle timeout
    server?.timeout(request, 0);
    const filter = { ...recordFilter(kind, query, query.user_id), name };
    const rows = await deleteRecords({ kind, filter }, dry_run, { userId: admin, requestId });
    const deleted = kind === 'metric' ? { metrics: rows } : { analytics: rows };
    const entry = { request_id: requestId, admin_hash: hashForLog(admin), ...deleted };
    if (dry_run) log.info(entry, 'records counted for a deletion');
    else log.warn(entry, 'records deleted');
    return { dry_run, deleted };
  }

  return new Elysia({ name: 'deletion' })
    .decorate('requestId', '') // set by request-start.ts
    .delete(
      '/api/records/metrics',
      ({ request, server, requestId }) => deleteMatching('metric', { request, server, requestId }),
      { detail: documentDeletion('deleteMetricRecords', 'Delete metric records', documentParameters(DELETION.metric)) },
    )
    .delete(
      '/api/records/analytics',
      ({ request, server, requestId }) => deleteMatching('analytics', { request, server, requestId }),
      {
        detail: documentDeletion('deleteEventRecords', 'Delete event records', documentParameters(DELETION.analytics)),
      },
    );
}
