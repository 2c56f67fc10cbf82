import { Elysia } from 'elysia';
import { ApiError } from '../../errors.ts';
import type { CommitQueue } from '../../ingest/commit-queue.ts';
import type { FreeSpace } from '../../ingest/free-space.ts';
import type { QueryClient } from '../../query/client.ts';
import { documentProbe } from '../openapi.ts';

/** How long the result of a database probe is cached, in milliseconds, because a probe writes to the disk. */
const PROBE_CACHE_MS = 1_000;

/** Dependencies of the probes. */
export interface OperationsParts {
  readonly queue: Pick<CommitQueue, 'store'>;
  readonly freeSpace: Pick<FreeSpace, 'isShort'>;
  readonly queries: Pick<QueryClient, 'health'>;
  /** Returns whether the server accepts new records. */
  readonly isOpen: () => boolean;
}

/** Creates the liveness and readiness probes. */
export function operationsRoutes({ queue, freeSpace, queries, isOpen }: OperationsParts) {
  let probedAt = Number.NEGATIVE_INFINITY;
  let probeResult: Promise<void> = Promise.resolve();

  /** Commits an empty transaction. Requests within {@link PROBE_CACHE_MS} share its result. */
  function probe(): Promise<void> {
    if (performance.now() - probedAt >= PROBE_CACHE_MS) {
      probedAt = performance.now();
      probeResult = queue.store([], 0);
    }
    return probeResult;
  }

  return new Elysia({ name: 'operations' })
    .get('/healthz', () => ({ status: 'ok' }), {
      detail: documentProbe('checkLiveness', 'Check liveness', 'Succeeds while the process serves requests.', []),
    })
    .get(
      '/readyz',
      async () => {
        if (!isOpen()) throw new ApiError('shutting_down');
        const { state, isDamaged } = queries.health();
        if (state === 'restarting' || isDamaged) throw new ApiError('storage_unavailable');
        if (freeSpace.isShort()) throw new ApiError('storage_full');
        await probe();
        return { status: 'ok' };
      },
      {
        detail: documentProbe(
          'checkReadiness',
          'Check readiness',
          'Succeeds if the server can store data: it commits an empty transaction through the commit queue, at most once per second. Also fails while free disk space is below MIN_FREE_BYTES, while the query worker is restarting, and after it has found damage in the database.',
          ['internal', 'storage_unavailable', 'storage_full', 'shutting_down'],
        ),
      },
    );
}
