import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { version } from '../../../package.json' with { type: 'json' };
import { Failure } from '../../errors.ts';
import type { CommitQueue, QueueBounds } from '../../ingest/commit-queue.ts';
import type { Ledger } from '../../ingest/ledger.ts';
import type { Rejections } from '../../ingest/rejections.ts';
import { isUserId } from '../../records.ts';
import { authenticate } from '../auth.ts';
import { queryRoute } from '../openapi.ts';
import type { QueryParts } from './queries.ts';

/** What the routes of administration work with. */
export interface AdministrationParts extends QueryParts {
  readonly ledger: Ledger;
  readonly rejections: Pick<Rejections, 'forgetUser'>;
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly maxQueueRows: number;
  readonly maxQueueBytes: number;
  readonly databasePath: string;
  readonly log: Logger;
}

/** The routes for whoever looks after the log: how it is, and the erasure of a user. */
export function administration(parts: AdministrationParts) {
  const { verify, queries, rejections, log } = parts;

  return new Elysia({ name: 'administration' })
    .decorate('requestId', '') // set by request-start.ts
    .get(
      '/api/status',
      async ({ request }) => {
        const { isAdmin } = await authenticate(request.headers, verify);
        const whole = status(parts);
        return isAdmin ? whole : { version: whole.version, durability: whole.durability };
      },
      {
        detail: queryRoute(
          'How the log is',
          'The ledger of every item since the database was made, storage, queue, durability and version.',
          [],
          EXAMPLE_STATUS,
        ),
      },
    )
    .delete(
      '/api/users/:user_id',
      async ({ request, server, requestId }) => {
        const principal = await authenticate(request.headers, verify);
        if (!principal.isAdmin) throw new Failure('forbidden');
        const user_id = userIdAt(request.url);
        if (user_id === undefined || !isUserId(user_id)) {
          const msg = 'String should have 1 to 255 characters and no control characters';
          const fault = { loc: ['path', 'user_id'], msg, type: 'string_pattern_mismatch' };
          throw new Failure('validation_failed', { faults: [fault] });
        }
        // it may take longer than a connection may be silent
        server?.timeout(request, 0);
        const deleted = await queries.maintain('erase', user_id);
        rejections.forgetUser(user_id);
        log.warn({ request_id: requestId, admin: principal.userId, ...deleted }, 'a user was erased');
        return { user_id, deleted };
      },
      {
        detail: {
          ...queryRoute(
            'Erase a user',
            'For tokens with the role `admin`: removes every row of the user, what aggregates have of them, answers that are remembered under their keys, and rejections. Freed space is overwritten, the write-ahead log emptied.',
            [{ name: 'user_id', in: 'path', required: true, schema: { type: 'string', maxLength: 255 } }],
            { user_id: 'user-42', deleted: { metrics: 12, analytics: 3 } },
          ),
          tags: ['Administration'],
        },
      },
    );
}

/** The last part of an address, decoded here: Elysia turns what is wrongly encoded into another text. */
function userIdAt(address: string): string | undefined {
  try {
    return decodeURIComponent(new URL(address).pathname.split('/').at(-1) ?? '');
  } catch {
    return undefined;
  }
}

const EXAMPLE_STATUS = {
  version: '0.1.0',
  uptime_seconds: 86400,
  ledger: { received: 12, stored: 10, duplicates: 1, rejected: { validation_failed: 1 } },
  storage: { database_bytes: 16384, wal_bytes: 4152, free_bytes: 50000000000 },
  queue: { rows: 0, bytes: 0, max_rows: 12000, max_bytes: 67108864 },
  durability: { journal: 'wal', acknowledged: 'after fsync' },
};

/** How the log is. */
export type Status = ReturnType<typeof status>;

/** How the log is, at this moment. */
function status({ ledger, queue, maxQueueRows, maxQueueBytes, databasePath }: AdministrationParts) {
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const { bavail, bsize } = statfsSync(dirname(databasePath));
  const { rows, bytes }: QueueBounds = queue.depth();
  return {
    version,
    uptime_seconds: Math.floor(process.uptime()),
    ledger: ledger.counts(),
    // by stat, which opens nothing: closing the file would drop SQLite's locks
    storage: { database_bytes: size(databasePath), wal_bytes: size(`${databasePath}-wal`), free_bytes: bavail * bsize },
    queue: { rows, bytes, max_rows: maxQueueRows, max_bytes: maxQueueBytes },
    durability: { journal: 'wal', acknowledged: 'after fsync' },
  };
}
