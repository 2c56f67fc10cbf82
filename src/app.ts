import { Elysia } from 'elysia';
import { corsFor } from './http/cors.ts';
import { type ErrorHandlingParts, errorHandling } from './http/errors.ts';
import { createRequestIds, requestStart } from './http/request-start.ts';
import { type AdministrationParts, administration } from './http/routes/administration.ts';
import { dashboard } from './http/routes/dashboard.ts';
import { docs } from './http/routes/docs.ts';
import { exporting } from './http/routes/exports.ts';
import { type TailParts, tailing } from './http/routes/live-tails.ts';
import { metricsRoute } from './http/routes/metrics.ts';
import { type OperationsParts, operations } from './http/routes/operations.ts';
import { reading } from './http/routes/queries.ts';
import { type RecordingParts, recording } from './http/routes/recording.ts';
import { type RejectionsParts, rejecting } from './http/routes/rejections.ts';

/**
 * Composes the HTTP app from its parts. It opens nothing and listens nowhere.
 *
 * A request that finds its route gets its name and its clock, then the route's handler has it, then its
 * time is taken; the recording routes do all of that in their handler. Whatever is thrown on the way goes
 * to the error handling.
 */
export function createApp(
  parts: Omit<RecordingParts, 'nextRequestId'> &
    OperationsParts &
    AdministrationParts &
    TailParts &
    RejectionsParts &
    Omit<ErrorHandlingParts, 'routes' | 'nextRequestId' | 'addressOf'> & {
      corsOrigins: readonly string[];
      idleTimeoutSeconds: number;
    },
) {
  const app = new Elysia({
    // the default rewrites a value before it is checked, so that a list passes for an empty object
    normalize: false,
    // the default takes an address with a slash at its end for the same one, but not in every case
    strictPath: true,
    // the default looks for the path behind the 11th character of the URL, and misses it after a short host
    handler: { standardHostname: false },
    serve: {
      // true, the default, lets a second server take the same port in silence
      reusePort: false,
      // the body parser bounds bodies and says so; Bun's own bound answers without a word
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      idleTimeout: parts.idleTimeoutSeconds,
    },
  });
  const nextRequestId = createRequestIds();
  const addressOf = (request: Request) => app.server?.requestIP(request)?.address ?? '';
  if (parts.corsOrigins.length > 0) app.use(corsFor(parts.corsOrigins));
  return app
    .use(errorHandling({ ...parts, nextRequestId, addressOf, routes: () => app.routes }))
    .use(recording({ ...parts, nextRequestId })) // before the hooks that follow: it does without them
    .use(requestStart(nextRequestId))
    .use(metricsRoute(parts.metrics))
    .use(reading(parts))
    .use(exporting(parts))
    .use(tailing(parts))
    .use(rejecting(parts))
    .use(administration(parts))
    .use(operations(parts))
    .use(docs())
    .use(dashboard());
}
