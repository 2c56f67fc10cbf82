import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { version } from '../../../package.json' with { type: 'json' };
import { canReadAll, type Principal } from '../../auth/verifier.ts';
import type { BackupSchedule } from '../../backup/schedule.ts';
import type { Config } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import type { Retention } from '../../formats/retention.ts';
import type { SinkStatus } from '../../forwarding/status.ts';
import { readFreeBytes } from '../../free-bytes.ts';
import type { CommitQueue, QueueBounds } from '../../ingest/commit-queue.ts';
import type { FreeSpace } from '../../ingest/free-space.ts';
import type { Ledger } from '../../ingest/ledger.ts';
import type { QueryClient } from '../../query/client.ts';
import { zoneDatabase } from '../../query/zone-database.ts';
import { isUserId, MAX_USER_ID_LENGTH } from '../../records.ts';
import type { OperatorStatus, UserStatus } from '../../responses.ts';
import type { Actor } from '../../storage/audit-log.ts';
import { forecastFull, type Growth } from '../../storage/disk-forecast.ts';
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
  | 'maxBodyBytes'
  | 'maxBatchItems'
  | 'maxResultBytes'
  | 'maxNamesPerUser'
  | 'isAllowedName'
  | 'rateLimit'
  | 'rateLimitBytes'
>;

/** Dependencies of the administration routes. */
export interface AdministrationParts extends Pick<QueryParts, 'verify' | 'slowQueries'> {
  readonly queries: QueryClient;
  readonly ledger: Ledger;
  /** Erases a user. Resolves once queries no longer return the user's rows. */
  readonly erase: (userId: string, actor: Actor) => Promise<ErasedRows & { readonly pending: readonly string[] }>;
  /** Returns the number of tokens verified per secret in JWT_SECRET. */
  readonly acceptedBySecret: () => readonly number[];
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly queueBounds: QueueBounds;
  readonly limits: Limits;
  readonly databasePath: string;
  readonly freeSpace: Pick<FreeSpace, 'minBytes' | 'secondsLeft'>;
  /** Returns when the newest scheduled backup was taken, in milliseconds since 1970; undefined if there is none. */
  readonly lastBackupAt: () => number | undefined;
  /** Returns the schedule of backups; undefined without BACKUP_DIR. */
  readonly backupSchedule: () => Pick<BackupSchedule, 'everySeconds' | 'nextAt' | 'failures'> | undefined;
  readonly retention: Retention;
  /** Returns the sinks in FORWARD_URL; undefined shortly after a start. */
  readonly sinks: () => readonly SinkStatus[] | undefined;
  /** Returns how the write-ahead log is synced. */
  readonly syncStatus: () => SyncStatus;
  readonly log: Logger;
  /** Returns a keyed hash of a user ID, because log lines survive an erasure. */
  readonly hashForLog: (userId: string) => string;
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
  const { verify, erase, log, hashForLog } = parts;

  async function eraseUser(user_id: string, { principal, request, server, requestId }: ErasureContext) {
    // an erasure may take longer than the idle timeout
    server?.timeout(request, 0);
    const { pending, ...deleted } = await erase(user_id, { userId: principal.userId, requestId });
    log.warn({ request_id: requestId, admin_hash: hashForLog(principal.userId), ...deleted }, 'user erased');
    return { user_id, deleted, ...(pending.length > 0 && { pending }) };
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
        detail: documentErasure('eraseUser', 'Erase a user', ERASURE, [
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
          'eraseUserByQuery',
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
function userStatus({ limits }: Pick<AdministrationParts, 'limits'>): UserStatus {
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

function backupStatus({
  lastBackupAt,
  backupSchedule,
}: Pick<AdministrationParts, 'lastBackupAt' | 'backupSchedule'>): OperatorStatus['backup'] {
  const lastAt = lastBackupAt();
  const schedule = backupSchedule();
  return {
    last_at: lastAt === undefined ? null : new Date(lastAt).toISOString(),
    age_seconds: lastAt === undefined ? null : Math.max(0, Date.now() - lastAt) / 1000,
    every_seconds: schedule?.everySeconds ?? null,
    next_at: schedule ? new Date(schedule.nextAt()).toISOString() : null,
    failures: schedule?.failures() ?? 0,
  };
}

function sinkStatus(sink: SinkStatus): OperatorStatus['sinks'][number] {
  const { name, state, reason, lagRows, lagSeconds, deadLetters, postponed, pendingErasures, skipped } = sink;
  return {
    ...{ name, state, reason: reason ?? null, lag_rows: lagRows, lag_seconds: lagSeconds },
    ...{ dead_letters: deadLetters, postponed, pending_erasures: pendingErasures, skipped },
  };
}

/** Returns when the disk will be full, for the status; null if the growth is unknown. */
function forecastStatus(
  growth: Growth | undefined,
  freeBytes: number,
  { freeSpace, retention }: Pick<AdministrationParts, 'freeSpace' | 'retention'>,
): OperatorStatus['storage']['forecast'] {
  if (!growth) return null;
  const disk = { freeBytes, minFreeBytes: freeSpace.minBytes };
  const { days, rowsPerDay, bytesPerDay, finalBytes, fullInSeconds } = forecastFull(growth, disk, retention);
  return {
    days: Math.round(days * 100) / 100,
    rows_per_day: Math.round(rowsPerDay),
    bytes_per_day: Math.round(bytesPerDay),
    final_bytes: finalBytes ?? null,
    full_in_seconds: fullInSeconds ?? null,
  };
}

/** Returns the status for admins and viewers. Values from the query worker are null while it is busy or not running. */
export async function operatorStatus(
  parts: Pick<
    AdministrationParts,
    | 'ledger'
    | 'queue'
    | 'queueBounds'
    | 'databasePath'
    | 'freeSpace'
    | 'queries'
    | 'syncStatus'
    | 'limits'
    | 'acceptedBySecret'
    | 'lastBackupAt'
    | 'backupSchedule'
    | 'retention'
    | 'sinks'
  >,
): Promise<OperatorStatus> {
  const { ledger, queue, queueBounds, databasePath, queries } = parts;
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const { mode, medianMs } = parts.syncStatus();
  const { rows, bytes }: QueueBounds = queue.depth();
  const { state, restarts } = queries.health();
  const [lag, pending, use, growth] = await Promise.all([
    queries.lag(),
    queries.pendingRemovals(),
    queries.spaceUse(),
    queries.growth(parts.retention),
  ]);
  const freeBytes = readFreeBytes(dirname(databasePath));
  return {
    ...userStatus(parts),
    uptime_seconds: Math.floor(process.uptime()),
    ledger: ledger.counts(),
    // uses stat, because opening and closing the file would drop SQLite's locks
    storage: {
      database_bytes: size(databasePath),
      wal_bytes: size(`${databasePath}-wal`),
      free_bytes: freeBytes,
      min_free_bytes: parts.freeSpace.minBytes,
      full_in_seconds: parts.freeSpace.secondsLeft() ?? null,
      forecast: forecastStatus(growth, freeBytes, parts),
      use: {
        rows_bytes: use?.rows ?? null,
        columns_bytes: use?.columns ?? null,
        free_pages_bytes: use?.free ?? null,
      },
      fsync: { mode, median_ms: medianMs },
    },
    queue: { rows, bytes, max_rows: queueBounds.rows, max_bytes: queueBounds.bytes },
    columns: { lag_rows: lag?.rows ?? null, lag_seconds: lag?.seconds ?? null },
    tz: zoneDatabase(),
    query_worker: { state, restarts },
    erasures: { pending: pending ?? null },
    backup: backupStatus(parts),
    sinks: (parts.sinks() ?? []).map(sinkStatus),
    jwt_secrets: parts.acceptedBySecret().map((accepted) => ({ accepted })),
  };
}
