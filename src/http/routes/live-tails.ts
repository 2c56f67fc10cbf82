import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { Kind } from '../../records.ts';
import type { LiveTails } from '../../tail/live-tails.ts';
import { authenticate } from '../auth.ts';
import { documentTail } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import { RECORD_FILTERS, recordFilter } from '../query-parameters.ts';
import { scopeOf } from './queries.ts';

/** Dependencies of the live tail routes. */
export interface TailParts {
  readonly verify: CachedVerifier;
  readonly tails: LiveTails;
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'x-accel-buffering': 'no', // nginx would otherwise buffer events
};

/** Creates the routes of live tails, which send records as they are committed; see {@link LiveTails}. */
export function tailRoutes({ verify, tails }: TailParts) {
  const openTail = async (request: Request, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request, RECORD_FILTERS[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    return new Response(tails.open(kind, filter, principal), { headers: HEADERS });
  };

  return new Elysia({ name: 'tail' })
    .get('/api/records/metrics/tail', ({ request }) => openTail(request, 'metric'), {
      detail: documentTail(
        'tailMetrics',
        'Stream new metrics',
        documentParameters(RECORD_FILTERS.metric),
        '"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"',
      ),
    })
    .get('/api/records/analytics/tail', ({ request }) => openTail(request, 'analytics'), {
      detail: documentTail(
        'tailEvents',
        'Stream new events',
        documentParameters(RECORD_FILTERS.analytics),
        '"type":"tutorial_step","data_index":"step_3","data":{"step":3,"outcome":"completed"}',
      ),
    });
}
