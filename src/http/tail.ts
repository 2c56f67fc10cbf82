import { Elysia } from 'elysia';
import type { CachedVerifier } from '../auth/token-cache.ts';
import type { Tails } from '../reading/tail.ts';
import type { Kind } from '../storage/columns.ts';
import { authenticate } from './auth.ts';
import { tailRoute } from './openapi.ts';
import { documented, RECORD_FILTERS, readTailFilter, USER_ID } from './query.ts';
import { scopeOf } from './reading.ts';

/** What the live tails work with. */
export interface TailParts {
  readonly verify: CachedVerifier;
  readonly tails: Tails;
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'x-accel-buffering': 'no', // nginx would gather events
};

/** The routes that send records as they are stored, until the token expires; see {@link Tails}. */
export function tailing({ verify, tails }: TailParts) {
  const tail = async (request: Request, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const filter = readTailFilter(request.url, kind, (named) => scopeOf(principal, named));
    return new Response(tails.open(kind, filter, principal), { headers: HEADERS });
  };

  return new Elysia({ name: 'tail' })
    .get('/api/records/metrics/tail', ({ request }) => tail(request, 'metric'), {
      detail: tailRoute(
        'Metrics as they come',
        documented({ ...RECORD_FILTERS.metric, user_id: USER_ID }),
        '"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"',
      ),
    })
    .get('/api/records/analytics/tail', ({ request }) => tail(request, 'analytics'), {
      detail: tailRoute(
        'Events as they come',
        documented({ ...RECORD_FILTERS.analytics, user_id: USER_ID }),
        '"type":"tutorial_step","data_index":"step_3","data":{"step":3,"outcome":"completed"}',
      ),
    });
}
