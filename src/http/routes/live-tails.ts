import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { Kind } from '../../records.ts';
import type { LiveTails } from '../../tail/live-tails.ts';
import { authenticate } from '../auth.ts';
import { tailRoute } from '../openapi.ts';
import { documented, RECORD_FILTERS, readQuery, recordFilter } from '../parameters.ts';
import { scopeOf } from './queries.ts';

/** What the live tails work with. */
export interface TailParts {
  readonly verify: CachedVerifier;
  readonly tails: LiveTails;
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'x-accel-buffering': 'no', // nginx would gather events
};

/** The routes that send records as they are stored, until the token expires; see {@link LiveTails}. */
export function tailing({ verify, tails }: TailParts) {
  const tail = async (request: Request, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request, RECORD_FILTERS[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    return new Response(tails.open(kind, filter, principal), { headers: HEADERS });
  };

  return new Elysia({ name: 'tail' })
    .get('/api/records/metrics/tail', ({ request }) => tail(request, 'metric'), {
      detail: tailRoute(
        'Metrics as they come',
        documented(RECORD_FILTERS.metric),
        '"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"',
      ),
    })
    .get('/api/records/analytics/tail', ({ request }) => tail(request, 'analytics'), {
      detail: tailRoute(
        'Events as they come',
        documented(RECORD_FILTERS.analytics),
        '"type":"tutorial_step","data_index":"step_3","data":{"step":3,"outcome":"completed"}',
      ),
    });
}
