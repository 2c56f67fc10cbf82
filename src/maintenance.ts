import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { ErasureLog } from './backup/erasure-entry.ts';
import type { ErasedUser, PruneReport } from './control/protocol.ts';
import { ApiError } from './errors.ts';
import { isLimited, type Retention } from './formats/retention.ts';
import type { SinkStatus } from './forwarding/status.ts';
import type { CommitQueue } from './ingest/commit-queue.ts';
import type { FreeSpace } from './ingest/free-space.ts';
import type { Ledger } from './ingest/ledger.ts';
import type { Rejections } from './ingest/rejections.ts';
import type { UserNames } from './ingest/user-names.ts';
import type { MaintenanceResult, QueryClient } from './query/client.ts';
import type { DeletionQuery, Maintenance } from './query/engine.ts';
import { type Actor, type AuditLog, AuditLogError } from './storage/audit-log.ts';
import type { Storage } from './storage/database.ts';
import type { JobProgress } from './storage/job.ts';
import { DELETED } from './storage/ledger.ts';
import { KEEP_NOTHING, KEEP_SOME } from './storage/reclaiming.ts';
import type { Delivered } from './storage/retention.ts';
import { sinksWithRowsOf } from './storage/sink-erasures.ts';
import { readSinks } from './storage/sink-store.ts';
import type { Writer } from './storage/writer.ts';
import { isFullError } from './system-error.ts';

/** How often expired records are deleted and space is given back, and how soon after an attempt that failed. */
const SPACE_INTERVAL_MS = 3_600_000;
const SPACE_RETRY_MS = 60_000;
/** How long an erasure waits for the erasure log; the folder may be on a file system that hangs. */
const ERASURE_LOG_TIMEOUT_MS = 10_000;

/** The parts of the server that maintenance uses. */
export interface MaintenanceParts {
  readonly queries: Pick<QueryClient, 'maintain' | 'health'>;
  readonly queue: Pick<CommitQueue, 'store'>;
  readonly writer: Pick<Writer, 'counts'>;
  readonly ledger: Pick<Ledger, 'setDeleted'>;
  readonly rejections: Pick<Rejections, 'removeUser'>;
  readonly userNames: Pick<UserNames, 'invalidate'>;
  readonly audit: Pick<AuditLog, 'erasure' | 'deletion'>;
  readonly freeSpace: Pick<FreeSpace, 'isShort' | 'isLow'>;
  readonly storage: Pick<Storage, 'stampWal' | 'client'>;
  readonly databasePath: string;
  /** Undefined without BACKUP_DIR. */
  readonly erasureLog: ErasureLog | undefined;
  readonly retention: Retention;
  /** Returns the sinks in FORWARD_URL; undefined shortly after a start. */
  readonly sinks: () => readonly SinkStatus[] | undefined;
  /** Called when rows have been erased or deleted. */
  readonly onRemoved: () => void;
  readonly isStopping: () => boolean;
  readonly log: Logger;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  /** A clock that is never set, in milliseconds. */
  readonly monotonic: () => number;
}

/** Work on stored rows, which the query worker does while the server runs. */
export type ServerMaintenance = ReturnType<typeof createMaintenance>;

/** Creates the functions that erase, delete, prune and catch up, and that finish what was interrupted. */
export function createMaintenance(parts: MaintenanceParts) {
  const { queries, queue, writer, ledger, rejections, userNames, audit, freeSpace, storage, databasePath } = parts;
  const { erasureLog, isStopping, log, now, monotonic } = parts;
  let isCatchingUp = false;
  /** Restart count of the query worker when it last resumed interrupted maintenance. */
  let resumedAtRestart: number | undefined;
  /** Whether erasures may be missing in the erasure log. */
  let isErasureLogDue = true;
  let isLoggingErasures = false;
  /** When space is maintained next, on the monotonic clock; infinite while that runs. */
  let nextSpaceAt = 0;
  /** Whether space is maintained again as soon as that is done. */
  let isSpaceDueAgain = false;

  return {
    erase,
    deleteRecords,
    prune,
    catchUp,
    maintainSpace,
    /** Lets the next catch-up finish what was interrupted. */
    resumeLater(): void {
      resumedAtRestart = undefined;
    },
    /** Lets {@link maintainSpace} run the next time it is called, again if it runs now. */
    reclaimSoon(): void {
      if (Number.isFinite(nextSpaceAt)) nextSpaceAt = 0;
      else isSpaceDueAgain = true; // the reserve to keep was decided when it began
    },
  };

  /** Erases all rows of a user that were received before the call, and everything derived from them. */
  async function erase(
    userId: string,
    actor: Actor,
    onProgress?: (progress: JobProgress) => void,
  ): Promise<ErasedUser> {
    const erased = await withAudit(() => audit.erasure(actor, userId, () => removeRows('erase', userId, onProgress)));
    rejections.removeUser(userId);
    userNames.invalidate(userId);
    await logErasures();
    return { ...erased, pending: sinksWithRowsOf(storage.client, userId) };
  }

  /** Deletes, or only counts, all records that match a filter and were received before the call. */
  async function deleteRecords(query: DeletionQuery, isDryRun: boolean, actor: Actor): Promise<number> {
    if (isDryRun) return removeRows('countMatching', query);
    return withAudit(() => audit.deletion(actor, query.kind, query.filter, () => removeRows('delete', query)));
  }

  /** Converts an error of the audit log to one for the caller: what is not in the log must not happen. */
  async function withAudit<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof AuditLogError)) throw error;
      throw new ApiError(isFullError(error) ? 'storage_full' : 'storage_unavailable', { cause: error });
    }
  }

  /** Runs maintenance that deletes rows received before the call. If it fails, the next catch-up finishes it. */
  async function removeRows<Name extends 'erase' | 'delete' | 'countMatching'>(
    name: Name,
    argument: Parameters<Maintenance[Name]>[0],
    onProgress?: (progress: JobProgress) => void,
  ): Promise<MaintenanceResult<Name>> {
    // requests commit in the order of their IDs: once this resolves, all earlier ones are committed
    await queue.store([], 0);
    try {
      const result = await queries.maintain(name, argument, onProgress);
      recordRemoval();
      parts.onRemoved();
      return result;
    } catch (error) {
      resumedAtRestart = undefined;
      throw error;
    }
  }

  /**
   * Copies new erasures to the erasure log.
   *
   * @throws {ApiError} `storage_unavailable`, as a rejection, if it cannot be written in time. The next catch-up tries
   *   again
   */
  async function logErasures(): Promise<void> {
    if (!erasureLog) return;
    isErasureLogDue = true;
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error('BACKUP_DIR does not respond')), ERASURE_LOG_TIMEOUT_MS);
    try {
      await Promise.race([erasureLog.update(), deadline]);
      isErasureLogDue = false;
    } catch (error) {
      isErasureLogDue = true;
      throw new ApiError('storage_unavailable', { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Copies new erasures to the erasure log in the background, if some may be missing. Never runs twice at once. */
  async function logMissingErasures(): Promise<void> {
    if (!isErasureLogDue || isLoggingErasures) return;
    isLoggingErasures = true;
    try {
      await logErasures();
    } catch (error) {
      log.error({ err: error }, 'the erasure log in BACKUP_DIR could not be written; retrying in 5 seconds');
    } finally {
      isLoggingErasures = false;
    }
  }

  /** Updates the state that erasures and deletions have changed. */
  function recordRemoval(): void {
    ledger.setDeleted(new Map(writer.counts()).get(DELETED) ?? 0);
    storage.stampWal(); // the write-ahead log may have been restarted
  }

  /** Applies new rows to the column store in batches, until no work is left. Never runs twice at once. */
  async function catchUp(): Promise<void> {
    if (isCatchingUp) return;
    isCatchingUp = true;
    try {
      const { restarts } = queries.health();
      if (resumedAtRestart !== restarts) {
        await queries.maintain('resume', undefined);
        resumedAtRestart = restarts;
        recordRemoval();
        parts.onRemoved();
        isErasureLogDue = true; // an interrupted erasure may have been finished
      }
      void logMissingErasures(); // rows are not kept waiting for a folder that hangs
      let hasMore: boolean;
      do {
        hasMore = await queries.maintain('catchUp', undefined);
        recordRemoval();
      } while (hasMore && !isStopping());
    } catch (error) {
      if (!isStopping()) {
        log.warn({ err: error }, 'the column store could not catch up; retrying in 5 seconds');
      }
    } finally {
      isCatchingUp = false;
    }
  }

  /** Deletes the records that have expired, and gives the space of deleted ones back. Never runs twice at once. */
  async function maintainSpace(): Promise<void> {
    if (monotonic() < nextSpaceAt) return;
    nextSpaceAt = Number.POSITIVE_INFINITY;
    isSpaceDueAgain = false;
    isErasureLogDue = true; // the log may have been moved or replaced
    const intervalMs = parts.sinks() ? SPACE_INTERVAL_MS : SPACE_RETRY_MS; // retention waits until the sinks are known
    try {
      if (isLimited(parts.retention)) await pruneExpired();
      await queries.maintain('reclaim', freeSpace.isShort() ? KEEP_NOTHING : KEEP_SOME);
      storage.stampWal();
      nextSpaceAt = isSpaceDueAgain ? 0 : monotonic() + intervalMs;
    } catch (error) {
      resumedAtRestart = undefined;
      nextSpaceAt = monotonic() + SPACE_RETRY_MS;
      if (!isStopping()) {
        log.warn(
          { err: error },
          'expired records could not be deleted, or their space not given back; retrying in a minute',
        );
      }
    }
  }

  /**
   * Deletes the expired records for a command, by the settings of the server if no retention is given. If it fails, the next
   * catch-up finishes the deletion that has begun.
   */
  async function prune(
    given: Retention | undefined,
    isDryRun: boolean,
    onProgress: (progress: JobProgress) => void,
  ): Promise<PruneReport> {
    const retention = given ?? parts.retention;
    if (!isLimited(retention)) {
      throw new Error(
        'Nothing says what to delete: give --older-than, or set RETENTION_DAYS or RETENTION of the server.',
      );
    }
    const size = () => statSync(databasePath).size; // opening and closing the file would drop SQLite's locks
    const before = size();
    const request = { retention, now: now(), delivered: delivered() };
    if (isDryRun) {
      const expired = await queries.maintain('countExpired', request, onProgress);
      return { ...expired, before, after: before, needsRewrite: false };
    }
    try {
      const pruned = await queries.maintain('prune', request, onProgress);
      recordRemoval();
      parts.onRemoved();
      const canShrink = await queries.maintain('reclaim', KEEP_NOTHING, onProgress);
      storage.stampWal();
      return { ...pruned, before, after: size(), needsRewrite: !canShrink };
    } catch (error) {
      resumedAtRestart = undefined;
      throw error;
    }
  }

  /** Returns what the sinks have received. Retention waits for them until free space is low. */
  function delivered(): Delivered {
    const isAwaited = !freeSpace.isLow();
    const sinks = parts.sinks();
    if (sinks) return { sinks: sinks.map(({ name, cursors, importId }) => ({ name, cursors, importId })), isAwaited };
    // until the forwarder runs, a new sink may not be stored yet: nothing is deleted unless free space is low
    const unknown = { name: '', cursors: { metric: 0, analytics: 0 }, importId: 0 };
    return { sinks: isAwaited ? [unknown] : readSinks(storage.client), isAwaited };
  }

  /** Deletes the records that have expired by the settings. */
  async function pruneExpired(): Promise<void> {
    const request = { retention: parts.retention, now: now(), delivered: delivered() };
    const { rows, bytes, skipped } = await queries.maintain('prune', request);
    recordRemoval();
    parts.onRemoved();
    const { metric: metrics, analytics } = rows;
    if (metrics + analytics > 0) log.info({ metrics, analytics, bytes }, 'expired records deleted');
    for (const { sink, rows: missed } of skipped) {
      log.error(
        { sink, rows: missed },
        'expired records were deleted before they were forwarded: free disk space is low',
      );
    }
  }
}
