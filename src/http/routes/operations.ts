import { Elysia } from 'elysia';
import { ApiError } from '../../errors.ts';
import type { CommitQueue } from '../../ingest/commit-queue.ts';
import type { QueryClient } from '../../query/client.ts';
import { probeRoute } from '../openapi.ts';

/** How long one probe of the database answers for, in milliseconds: probing writes to the disk. */
const PROBE_LASTS = 1_000;

/** What the probes look at. */
export interface OperationsParts {
  readonly queue: Pick<CommitQueue, 'store'>;
  readonly queries: Pick<QueryClient, 'health'>;
  /** Whether the server still takes new records. */
  readonly isOpen: () => boolean;
}

/** The routes for those who run the server: is it up, and can it store. */
export function operations({ queue, queries, isOpen }: OperationsParts) {
  let probedAt = Number.NEGATIVE_INFINITY;
  let probed: Promise<void> = Promise.resolve();

  /** A commit of nothing, shared by all who ask within {@link PROBE_LASTS}. */
  function probe(): Promise<void> {
    if (performance.now() - probedAt >= PROBE_LASTS) {
      probedAt = performance.now();
      probed = queue.store([], 0);
    }
    return probed;
  }

  return new Elysia({ name: 'operations' })
    .get('/healthz', () => ({ status: 'ok' }), {
      detail: probeRoute('Is the server up?', 'Succeeds as long as the process serves requests.', []),
    })
    .get(
      '/readyz',
      async () => {
        if (!isOpen()) throw new ApiError('shutting_down');
        const { state, isDamaged } = queries.health();
        if (state === 'restarting' || isDamaged) throw new ApiError('storage_unavailable');
        await probe();
        return { status: 'ok' };
      },
      {
        detail: probeRoute(
          'Can it store?',
          'Commits a transaction that changes nothing, at most once per second, the way records are committed. Fails also while the query worker cannot start, and after it has found the database damaged.',
          ['internal', 'storage_unavailable', 'storage_full', 'overloaded', 'shutting_down'],
        ),
      },
    );
}
