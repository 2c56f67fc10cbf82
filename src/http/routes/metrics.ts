import { timingSafeEqual } from 'node:crypto';
import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll } from '../../auth/verifier.ts';
import { ApiError } from '../../errors.ts';
import { bearerToken } from '../auth.ts';
import type { Metrics } from '../metrics.ts';
import { documentProbe } from '../openapi.ts';

/** Dependencies of the metrics route. */
export interface MetricsParts {
  readonly metrics: Metrics;
  readonly verify: CachedVerifier;
  /** Returns the value of METRICS_TOKEN; undefined if it is not set. */
  readonly metricsToken: () => string | undefined;
}

/**
 * Creates `/metrics`, which requires METRICS_TOKEN or the token of an admin or viewer, and the hook that observes the
 * duration of successful requests. recording.ts observes its own requests, error-response.ts the failed ones.
 */
export function metricsRoute({ metrics, verify, metricsToken }: MetricsParts) {
  async function authorize({ headers }: Request): Promise<void> {
    const token = bearerToken(headers);
    const expected = metricsToken();
    if (expected !== undefined && timingSafeEqual(sha256(token), sha256(expected))) return;
    if (!canReadAll(await verify(token))) throw new ApiError('forbidden');
  }

  const metricsDocs = documentProbe(
    'getPrometheusMetrics',
    'Get metrics for Prometheus',
    'Returns metrics on the ledger, requests, queries, rejected tokens, commits, the commit queue, file sizes and the process. Requires METRICS_TOKEN or the token of an admin or viewer as the bearer token.',
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
              description: 'Metrics in the Prometheus text format',
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
