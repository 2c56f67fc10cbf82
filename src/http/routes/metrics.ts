import { Elysia } from 'elysia';
import type { Metrics } from '../metrics.ts';
import { probeRoute } from '../openapi.ts';

/** Times requests that are answered well (recording.ts does its own, errors.ts the failed ones), and answers `/metrics`. */
export function metricsRoute(metrics: Metrics) {
  return new Elysia({ name: 'metrics' })
    .decorate('startedAt', 0) // set by request-start.ts
    .onAfterHandle({ as: 'global' }, ({ request, route, set, startedAt }) => {
      metrics.requests(request.method, route, Number(set.status))((performance.now() - startedAt) / 1000);
    })
    .get(
      '/metrics',
      async ({ set }) => {
        set.headers['content-type'] = metrics.registry.contentType;
        return metrics.registry.metrics();
      },
      {
        detail: {
          ...probeRoute('Metrics for Prometheus', 'The ledger, requests, commits, queue, sizes and the process.', []),
          responses: {
            '200': {
              description: 'In the text format of Prometheus',
              content: { 'text/plain': { schema: { type: 'string' } } },
            },
          },
        },
      },
    );
}
