import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { formatInZone } from '../../formats/timestamp.ts';
import type { KeptRejection, Rejections } from '../../ingest/rejections.ts';
import { authenticate } from '../auth.ts';
import { queryRoute } from '../openapi.ts';
import { documented, REJECTIONS, readQuery, USER_ID } from '../parameters.ts';
import { scopeOf } from './queries.ts';

/** What the route of rejections works with. */
export interface RejectionsParts {
  readonly verify: CachedVerifier;
  readonly rejections: Rejections;
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
        'Why items were rejected',
        'Requests to record that were refused, newest first, as they were answered: the last 100 of each code since the server started, kept in memory alone. `user_id` is the sender, or null where nobody knows, as without a good token; those are for the role `admin` alone. Requests that were refused since too much was waiting are told together, once a second and route, without a sender.',
        documented(PARAMETERS),
        {
          rejections: [
            {
              at: '2026-03-01T10:00:00.25Z',
              code: 'validation_failed',
              route: '/log_raw_metric',
              items: 1,
              user_id: 'user-42',
              request_id: '3f9c0a5e7b21-1c',
              message: 'The request does not have the expected form.',
              faults: [{ loc: ['body', 'data_string'], msg: 'Field required', type: 'missing' }],
            },
          ],
        },
      ),
    },
  );
}

/** A rejection as it is answered. */
export type RejectionResponse = ReturnType<typeof answered>;

function answered({ at, userId, requestId, code, route, items, message, faults }: KeptRejection) {
  const time = formatInZone(at * 1000, 'UTC');
  return { at: time, code, route, items, user_id: userId, request_id: requestId, message, faults };
}
