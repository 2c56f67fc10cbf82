import type { FreeSpace } from '../ingest/free-space.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { QueryClient } from '../query/client.ts';
import type { Observation } from './alert.ts';

/** How long recording must have worked before the alert is resolved. */
const CLEAR_AFTER_SECONDS = 300;

/** Why recording fails, the worst first, and what to do. */
const SUMMARIES = {
  storage_failed: 'The disk of the database has failed: the server stops. Check the disk, then start the server again.',
  database_damaged: 'The database is damaged: recording has stopped. Run "rawlog verify", or restore a backup.',
  storage_full: 'Recording fails because the disk is full. Free disk space.',
  storage_unavailable: 'Recording fails because the database cannot be written. The log says why.',
} as const;
type RecordingFailure = keyof typeof SUMMARIES;

/** What the check reads. */
export interface RecordingParts {
  readonly ledger: Pick<Ledger, 'counts'>;
  readonly freeSpace: Pick<FreeSpace, 'isShort'>;
  readonly queries: Pick<QueryClient, 'health'>;
  /** Returns whether the storage has failed. */
  readonly hasFailed: () => boolean;
}

/**
 * Creates the check whether recording fails: in its current state, or for items that were rejected since the last call. Reads
 * no files.
 */
export function createRecordingCheck({ ledger, freeSpace, queries, hasFailed }: RecordingParts): () => Observation[] {
  const rejectedItems = (code: 'storage_full' | 'storage_unavailable') => ledger.counts().rejected[code] ?? 0;
  let last = { full: rejectedItems('storage_full'), unavailable: rejectedItems('storage_unavailable') };

  function failure(): RecordingFailure | undefined {
    const before = last;
    last = { full: rejectedItems('storage_full'), unavailable: rejectedItems('storage_unavailable') };
    if (hasFailed()) return 'storage_failed';
    if (queries.health().isDamaged) return 'database_damaged';
    if (freeSpace.isShort() || last.full > before.full) return 'storage_full';
    return last.unavailable > before.unavailable ? 'storage_unavailable' : undefined;
  }

  return () => {
    const reason = failure();
    return [
      {
        key: '',
        isActive: reason !== undefined,
        clearAfterSeconds: CLEAR_AFTER_SECONDS,
        summary: reason === undefined ? '' : SUMMARIES[reason],
        details: { reason: reason ?? null },
      },
    ];
  };
}
