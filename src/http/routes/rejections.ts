import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { ValidationIssue } from '../../errors.ts';
import { formatTimestamp } from '../../formats/timestamp.ts';
import type { RecentRejection, Rejections as RecentRejections } from '../../ingest/rejections.ts';
import type { Rejections } from '../../responses.ts';
import { authenticate } from '../auth.ts';
import { documentQuery } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import { REJECTIONS, USER_ID } from '../query-parameters.ts';
import { scopeOf } from './queries.ts';

/** Dependencies of the rejections route. */
export interface RejectionsParts {
  readonly verify: CachedVerifier;
  readonly rejections: RecentRejections;
}

const DEFAULT_LIMIT = 100;
const PARAMETERS = { ...REJECTIONS, user_id: USER_ID };

/** Creates the route that lists recent rejections. */
export function rejectionRoutes({ verify, rejections }: RejectionsParts) {
  return new Elysia({ name: 'rejections' }).get(
    '/api/rejections',
    async ({ request }) => {
      const principal = await authenticate(request.headers, verify);
      const { code, limit, user_id } = readQuery(request, PARAMETERS);
      const found = rejections.newest({ user: scopeOf(principal, user_id), code }, limit ?? DEFAULT_LIMIT);
      return { rejections: found.map(toResponse) };
    },
    {
      detail: documentQuery(
        'listRejections',
        'List recent rejections',
        'Returns rejected recording requests, newest first, with the message and issues sent to the client. The server keeps the last 100 rejections per error code, and a fair share of them per user, in memory until it restarts. `user_id` is null if the user is unknown, for example without a valid token; only admins and viewers see these rejections. Overload rejections are aggregated per route, once per second, without a user.',
        documentParameters(PARAMETERS),
        'Rejections',
        { hasIngestLag: false },
      ),
    },
  );
}

function toResponse({
  at,
  userId,
  requestId,
  code,
  route,
  items,
  message,
  issues,
}: RecentRejection): Rejections['rejections'][number] {
  const time = formatTimestamp(at * 1000);
  return { at: time, code, route, items, user_id: userId, request_id: requestId, message, issues: issues.map(toIssue) };
}

function toIssue({ loc, msg, type }: ValidationIssue) {
  return { loc: [...loc], msg, type };
}
