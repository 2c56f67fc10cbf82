import { Elysia } from 'elysia';
import { Failure } from '../errors.ts';
import { failureOf } from '../ingest/commit-queue.ts';
import { storageFault } from '../storage/faults.ts';
import type { Writer } from '../storage/writer.ts';
import { probeRoute } from './openapi.ts';

/** How long one probe of the database answers for, in milliseconds: probing writes to the disk. */
const PROBE_LASTS = 1000;

/** What the probes look at. */
export interface OperationsParts {
  readonly writer: Pick<Writer, 'probe'>;
  /** Whether the server still takes new records. */
  readonly isOpen: () => boolean;
  /** The clock, in milliseconds. */
  readonly now: () => number;
}

/** The routes for those who run the server: is it up, and can it store. */
export function operations({ writer, isOpen, now }: OperationsParts) {
  let probedAt = Number.NEGATIVE_INFINITY;
  let failure: Failure | undefined;

  function probe(): Failure | undefined {
    if (now() - probedAt < PROBE_LASTS) return failure;
    try {
      writer.probe();
      failure = undefined;
    } catch (error) {
      failure = failureOf(storageFault(error));
    }
    probedAt = now();
    return failure;
  }

  return new Elysia({ name: 'operations' })
    .get('/healthz', () => ({ status: 'ok' }), {
      detail: probeRoute('Is the server up?', 'Answers as long as the process serves requests.', []),
    })
    .get(
      '/readyz',
      () => {
        const reason = isOpen() ? probe() : new Failure('shutting_down');
        if (reason) throw reason;
        return { status: 'ok' };
      },
      {
        detail: probeRoute('Can it store?', 'Commits a transaction that changes nothing, at most once a second.', [
          'internal',
          'storage_unavailable',
          'storage_full',
          'shutting_down',
        ]),
      },
    );
}
