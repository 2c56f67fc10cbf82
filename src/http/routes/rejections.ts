import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { ValidationIssue } from '../../errors.ts';
import { formatTimestamp } from '../../formats/timestamp.ts';
import type { RecentRejection, Rejections as RecentRejections } from '../../ingest/rejections.ts';
import type { Rejections } from '../../responses.ts';
import { authenticate } from '../auth.ts';
import { queryRoute } from '../openapi.ts';
import { documented, REJECTIONS, readQuery, USER_ID } from '../parameters.ts';
import { scopeOf } from './queries.ts';

/** What the route of rejections works with. */
export interface RejectionsParts {
  readonly verify: CachedVerifier;
  readonly rejections: RecentRejections;
}

const DEFAULT_LIMIT = 100;
const PARAMETERS = { ...REJECTIONS, user_id: USER_ID };

/** The route that tells why items were rejected lately. */
export function rejecting({ verify, rejections }: RejectionsParts) {
  return new Elysia({ name: 'rejections' }).get(
    '/api/rejections',
    async ({ request }) => {
      const principal = await authenticate(request.headers, verify);
      const { code, limit, user_id } = readQuery(request, PARAMETERS);
      const found = rejections.newest({ user: scopeOf(principal, user_id), code }, limit ?? DEFAULT_LIMIT);
      return { rejections: found.map(answered) };
    },
    {
      detail: queryRoute(
        'Recent rejections',
        'Rejected requests to record, newest first, with the text of their responses: the last 100 of each code since the server started, kept in memory. `user_id` is null if the user is unknown, as without a valid token; those are for admins and viewers only. Overload rejections are aggregated per route, once per second, without a user.',
        documented(PARAMETERS),
        'Rejections',
      ),
    },
  );
}

function answered({
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
  return { at: time, code, route, items, user_id: userId, request_id: requestId, message, issues: issues.map(shown) };
}

function shown({ loc, msg, type }: ValidationIssue) {
  return { loc: [...loc], msg, type };
}
