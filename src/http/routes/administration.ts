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
import type { Erased } from '../../storage/erasure.ts';
import { authenticate } from '../auth.ts';
import { erasureRoute, statusRoute } from '../openapi.ts';
import { documented, readQuery, USER_ID } from '../parameters.ts';
import { targetOf } from '../request-target.ts';
import { USER_ID_ISSUE } from '../validation.ts';
import type { QueryParts } from './queries.ts';

/** The limits that callers meet. */
export type Limits = Pick<
  Config,
  'maxBodyBytes' | 'maxBatchItems' | 'maxResultBytes' | 'maxNamesPerUser' | 'rateLimit' | 'rateLimitBytes'
>;

/** What the routes of administration work with. */
export interface AdministrationParts extends QueryParts {
  readonly ledger: Ledger;
  /** Erases a user; resolves once no query returns the user's rows. */
  readonly erase: (userId: string) => Promise<Erased>;
  /** Returns how many tokens each secret in JWT_SECRET has verified. */
  readonly acceptedBySecret: () => readonly number[];
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly queueBounds: QueueBounds;
  readonly limits: Limits;
  readonly databasePath: string;
  readonly log: Logger;
}

/** What an erasure needs to know of its request. */
interface Erasure {
  readonly principal: Principal;
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
  readonly requestId: string;
}

const ERASED_USER_ID = { ...USER_ID, description: 'The ID, percent-encoded once.', required: true } as const;

/** The routes for operators: status, and the erasure of a user. */
export function administration(parts: AdministrationParts) {
  const { verify, erase, log } = parts;

  async function authenticateAdmin(request: Request): Promise<Principal> {
    const principal = await authenticate(request.headers, verify);
    if (principal.role !== 'admin') throw new ApiError('forbidden');
    return principal;
  }

  async function eraseUser(user_id: string, { principal, request, server, requestId }: Erasure) {
    // it may take longer than a connection may be silent
    server?.timeout(request, 0);
    const deleted = await erase(user_id);
    log.warn({ request_id: requestId, admin: principal.userId, ...deleted }, 'a user was erased');
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
        detail: statusRoute(),
      },
    )
    .delete(
      '/api/users/:user_id',
      async ({ request, server, requestId }) => {
        const principal = await authenticateAdmin(request);
        readQuery(request, {}); // an ID in both places is ambiguous
        return eraseUser(userIdInPath(request), { principal, request, server, requestId });
      },
      {
        detail: erasureRoute('Erase a user', ERASURE, [
          {
            name: 'user_id',
            in: 'path',
            required: true,
            description: 'The ID, percent-encoded once.',
            schema: { type: 'string', minLength: 1, maxLength: MAX_USER_ID_LENGTH },
          },
        ]),
      },
    )
    .delete(
      '/api/users',
      async ({ request, server, requestId }) => {
        const principal = await authenticateAdmin(request);
        return eraseUser(userIdInQuery(request), { principal, request, server, requestId });
      },
      {
        detail: erasureRoute(
          'Erase a user whose ID no path can carry',
          `For IDs such as \`.\` and \`..\`, which clients and proxies take for path segments. ${ERASURE}`,
          documented({ user_id: ERASED_USER_ID }),
        ),
      },
    );
}

const ERASURE =
  "For admins: erases every row of the user that was received before, aggregates, the user's cached responses and rejections. Rows recorded later stay. The bytes are overwritten in every file.";

/**
 * Returns the user ID in the path, percent-decoded exactly once.
 *
 * Bun matches the route against the path as sent, and normalizes `request.url` before anyone sees it: of
 * `CORP\bob` it leaves `CORP/bob`, of `..` nothing. Two readings of one path must not lead to two users, so the ID
 * counts only where both agree. Elysia's own router, which sees the normalized path alone, gives no `params` of
 * Bun: `/api/users/x/../bob` ends here as well.
 *
 * @throws {ApiError} `validation_failed` for anything that is not one segment, with `\`, `#` and `%` encoded
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

/** Returns the decoded text; undefined where its encoding is wrong or spells no UTF-8. */
function decodeOnce(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** @throws {ApiError} `validation_failed`, also for a raw `+`, which is a space to some and a plus sign to others */
function userIdInQuery(request: Request): string {
  const { user_id } = readQuery(request, { user_id: ERASED_USER_ID });
  if (!targetOf(request).query.includes('+')) return user_id;
  const msg = 'Value error, a plus sign is ambiguous here: encode it as %2B, and a space as %20';
  throw new ApiError('validation_failed', { issues: [{ loc: ['query', 'user_id'], msg, type: 'value_error' }] });
}

/** What every caller may know. */
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

/** What operators may know beside that. Figures of the query worker are null while it is busy or does not run. */
async function operatorStatus(parts: AdministrationParts): Promise<OperatorStatus> {
  const { ledger, queue, queueBounds, databasePath, queries } = parts;
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const { bavail, bsize } = statfsSync(dirname(databasePath));
  const { rows, bytes }: QueueBounds = queue.depth();
  const { state, restarts } = queries.health();
  const [lag, pending] = await Promise.all([queries.lag(), queries.pendingErasures()]);
  return {
    ...userStatus(parts),
    uptime_seconds: Math.floor(process.uptime()),
    ledger: ledger.counts(),
    // by stat, which opens nothing: closing the file would drop SQLite's locks
    storage: { database_bytes: size(databasePath), wal_bytes: size(`${databasePath}-wal`), free_bytes: bavail * bsize },
    queue: { rows, bytes, max_rows: queueBounds.rows, max_bytes: queueBounds.bytes },
    columns: { lag_rows: lag?.rows ?? null, lag_seconds: lag?.seconds ?? null },
    tz: zoneDatabase(),
    query_worker: { state, restarts },
    erasures: { pending: pending ?? null },
    jwt_secrets: parts.acceptedBySecret().map((accepted) => ({ accepted })),
  };
}
