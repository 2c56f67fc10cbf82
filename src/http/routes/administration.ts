import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { version } from '../../../package.json' with { type: 'json' };
import { canReadAll, type Principal } from '../../auth/verifier.ts';
import type { Config } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import type { CommitQueue, QueueBounds } from '../../ingest/commit-queue.ts';
import type { Ledger } from '../../ingest/ledger.ts';
import { zoneDatabase } from '../../query/zone-database.ts';
import { isUserId, MAX_USER_ID_LENGTH } from '../../records.ts';
import type { OperatorStatus, UserStatus } from '../../responses.ts';
import type { ErasedRows } from '../../storage/erasure.ts';
import type { SyncStatus } from '../../storage/wal-sync.ts';
import { authenticate, authenticateAdmin } from '../auth.ts';
import { documentErasure, documentStatus } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import { USER_ID } from '../query-parameters.ts';
import { targetOf } from '../request-target.ts';
import { USER_ID_ISSUE } from '../validation.ts';
import type { QueryParts } from './queries.ts';

/** The limits on requests. */
export type Limits = Pick<
  Config,
  'maxBodyBytes' | 'maxBatchItems' | 'maxResultBytes' | 'maxNamesPerUser' | 'rateLimit' | 'rateLimitBytes'
>;

/** Dependencies of the administration routes. */
export interface AdministrationParts extends QueryParts {
  readonly ledger: Ledger;
  /** Erases a user. Resolves once queries no longer return the user's rows. */
  readonly erase: (userId: string) => Promise<ErasedRows>;
  /** Returns the number of tokens verified per secret in JWT_SECRET. */
  readonly acceptedBySecret: () => readonly number[];
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly queueBounds: QueueBounds;
  readonly limits: Limits;
  readonly databasePath: string;
  /** Returns how the write-ahead log is synced. */
  readonly syncStatus: () => SyncStatus;
  readonly log: Logger;
}

/** The request context of an erasure. */
interface ErasureContext {
  readonly principal: Principal;
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
  readonly requestId: string;
}

const ERASED_USER_ID = { ...USER_ID, description: 'The user ID, percent-encoded once.', required: true } as const;

/** Creates the administration routes: status and erasure. */
export function administrationRoutes(parts: AdministrationParts) {
  const { verify, erase, log } = parts;

  async function eraseUser(user_id: string, { principal, request, server, requestId }: ErasureContext) {
    // an erasure may take longer than the idle timeout
    server?.timeout(request, 0);
    const deleted = await erase(user_id);
    log.warn({ request_id: requestId, admin: principal.userId, ...deleted }, 'user erased');
    return { user_id, deleted };
  }

  return new Elysia({ name: 'administration' })
    .decorate('requestId', '') // set by request-start.ts
    .get(
      '/api/status',
      async ({ request }) => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        return canReadAll(principal) ? operatorStatus(parts) : userStatus(parts);
      },
      {
        detail: documentStatus(),
      },
    )
    .delete(
      '/api/users/:user_id',
      async ({ request, server, requestId }) => {
        const principal = await authenticateAdmin(request.headers, verify);
        readQuery(request, {}); // an ID in both the path and the query is ambiguous
        return eraseUser(userIdInPath(request), { principal, request, server, requestId });
      },
      {
        detail: documentErasure('Erase a user', ERASURE, [
          {
            name: 'user_id',
            in: 'path',
            required: true,
            description: 'The user ID, percent-encoded once.',
            schema: { type: 'string', minLength: 1, maxLength: MAX_USER_ID_LENGTH },
          },
        ]),
      },
    )
    .delete(
      '/api/users',
      async ({ request, server, requestId }) => {
        const principal = await authenticateAdmin(request.headers, verify);
        return eraseUser(userIdInQuery(request), { principal, request, server, requestId });
      },
      {
        detail: documentErasure(
          'Erase a user by query parameter',
          `Use this route for IDs such as \`.\` and \`..\`, which clients and proxies remove from paths as dot segments. ${ERASURE}`,
          documentParameters({ user_id: ERASED_USER_ID }),
        ),
      },
    );
}

const ERASURE =
  "Requires the role `admin`. Erases all rows of the user received before the request, their aggregates, and the user's cached responses and rejections. Rows recorded later are kept. The data is overwritten in every file; `/api/status` reports erasures for which this is pending.";

/**
 * Returns the user ID in the path, percent-decoded exactly once.
 *
 * Bun matches the route against the path as sent, but normalizes `request.url`: `CORP\bob` becomes `CORP/bob`, and `..`
 * disappears. A path must not be able to name two users, so the ID is accepted only if both forms agree. Elysia's
 * router only sees the normalized path and does not set Bun's `params`, so `/api/users/x/../bob` is rejected here too.
 *
 * @throws {ApiError} `validation_failed` unless the ID is a single segment with `\`, `#` and `%` encoded
 */
function userIdInPath(request: Request & { readonly params?: Readonly<Record<string, string>> }): string {
  const segment = /^\/api\/users\/([^/\\#]+)$/.exec(targetOf(request).path)?.[1];
  if (segment === undefined || /^(\.|%2e){1,2}$/i.test(segment)) {
    const msg = 'Value error, the ID is ambiguous in a path: send it as /api/users?user_id=ID';
    throw new ApiError('validation_failed', { issues: [{ loc: ['path', 'user_id'], msg, type: 'value_error' }] });
  }
  const userId = decodeOnce(segment);
  if (userId === undefined || !isUserId(userId) || userId !== request.params?.['user_id']) {
    throw new ApiError('validation_failed', { issues: [{ loc: ['path', 'user_id'], ...USER_ID_ISSUE }] });
  }
  return userId;
}

/** Returns the percent-decoded text; undefined if the encoding or its UTF-8 is invalid. */
function decodeOnce(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns the user ID in the query.
 *
 * @throws {ApiError} `validation_failed`, including for a raw `+`: some clients send it for a space, others for a plus
 */
function userIdInQuery(request: Request): string {
  const { user_id } = readQuery(request, { user_id: ERASED_USER_ID });
  if (!targetOf(request).query.includes('+')) return user_id;
  const msg = 'Value error, a raw plus sign is ambiguous: encode a plus sign as %2B and a space as %20';
  throw new ApiError('validation_failed', { issues: [{ loc: ['query', 'user_id'], msg, type: 'value_error' }] });
}

/** Returns the status for all callers. */
function userStatus({ limits }: AdministrationParts): UserStatus {
  return {
    version,
    durability: { journal: 'wal', acknowledged: 'after fsync' },
    limits: {
      max_body_bytes: limits.maxBodyBytes,
      max_batch_items: limits.maxBatchItems,
      max_result_bytes: limits.maxResultBytes,
      max_names_per_user: limits.maxNamesPerUser,
      rate_limit: limits.rateLimit ? { rows: limits.rateLimit.amount, seconds: limits.rateLimit.window } : null,
      rate_limit_bytes: limits.rateLimitBytes
        ? { bytes: limits.rateLimitBytes.amount, seconds: limits.rateLimitBytes.window }
        : null,
    },
  };
}

/** Returns the status for admins and viewers. Values from the query worker are null while it is busy or not running. */
async function operatorStatus(parts: AdministrationParts): Promise<OperatorStatus> {
  const { ledger, queue, queueBounds, databasePath, queries } = parts;
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const { bavail, bsize } = statfsSync(dirname(databasePath));
  const { mode, medianMs } = parts.syncStatus();
  const { rows, bytes }: QueueBounds = queue.depth();
  const { state, restarts } = queries.health();
  const [lag, pending] = await Promise.all([queries.lag(), queries.pendingRemovals()]);
  return {
    ...userStatus(parts),
    uptime_seconds: Math.floor(process.uptime()),
    ledger: ledger.counts(),
    // uses stat, because opening and closing the file would drop SQLite's locks
    storage: {
      database_bytes: size(databasePath),
      wal_bytes: size(`${databasePath}-wal`),
      free_bytes: bavail * bsize,
      fsync: { mode, median_ms: medianMs },
    },
    queue: { rows, bytes, max_rows: queueBounds.rows, max_bytes: queueBounds.bytes },
    columns: { lag_rows: lag?.rows ?? null, lag_seconds: lag?.seconds ?? null },
    tz: zoneDatabase(),
    query_worker: { state, restarts },
    erasures: { pending: pending ?? null },
    jwt_secrets: parts.acceptedBySecret().map((accepted) => ({ accepted })),
  };
}
