import { timingSafeEqual } from 'node:crypto';
import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll } from '../../auth/verifier.ts';
import { ApiError } from '../../errors.ts';
import { bearerToken } from '../auth.ts';
import type { Metrics } from '../metrics.ts';
import { probeRoute } from '../openapi.ts';

/** What the metrics route works with. */
export interface MetricsParts {
  readonly metrics: Metrics;
  readonly verify: CachedVerifier;
  /** Returns what a scraper may present in place of a token; undefined: nothing. */
  readonly metricsToken: () => string | undefined;
}

/**
 * Times requests that succeed (recording.ts times its own, error-response.ts the failed ones), and serves `/metrics`
 * to whoever has METRICS_TOKEN, and to admins and viewers.
 */
export function metricsRoute({ metrics, verify, metricsToken }: MetricsParts) {
  async function authorize({ headers }: Request): Promise<void> {
    const token = bearerToken(headers);
    const expected = metricsToken();
    if (expected !== undefined && timingSafeEqual(sha256(token), sha256(expected))) return;
    if (!canReadAll(await verify(token))) throw new ApiError('forbidden');
  }

  const metricsDocs = probeRoute(
    'Metrics for Prometheus',
    'The ledger, requests, commits, queue, sizes and the process. Needs METRICS_TOKEN, or the token of an admin or a viewer.',
    ['unauthorized', 'forbidden', 'rate_limited', 'keys_unavailable'],
  );
  return new Elysia({ name: 'metrics' })
    .decorate('startedAt', 0) // set by request-start.ts
    .onAfterHandle({ as: 'global' }, ({ request, route, set, startedAt }) => {
      metrics.requests(request.method, route, Number(set.status))((performance.now() - startedAt) / 1000);
    })
    .get(
      '/metrics',
      async ({ request, set }) => {
        await authorize(request);
        set.headers['content-type'] = metrics.registry.contentType;
        return metrics.registry.metrics();
      },
      {
        detail: {
          ...metricsDocs,
          security: [{ bearer: [] }],
          responses: {
            ...metricsDocs.responses,
            '200': {
              description: 'In the text format of Prometheus',
              content: { 'text/plain': { schema: { type: 'string' } } },
            },
          },
        },
      },
    );
}

function sha256(text: string): Uint8Array {
  return Bun.SHA256.hash(text) as Uint8Array;
}
