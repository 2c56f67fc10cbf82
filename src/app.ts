import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { clientAddress } from './http/client-address.ts';
import { corsFor } from './http/cors.ts';
import { createErrorResponder, type ErrorResponseParts, errorHandling } from './http/error-response.ts';
import { bunTimeout } from './http/idle-timeout.ts';
import type { Metrics } from './http/metrics.ts';
import { createRequestIds, requestStart } from './http/request-start.ts';
import { type AdministrationParts, administration } from './http/routes/administration.ts';
import { dashboard } from './http/routes/dashboard.ts';
import { docs } from './http/routes/docs.ts';
import { exporting } from './http/routes/exports.ts';
import { type TailParts, tailing } from './http/routes/live-tails.ts';
import { type MetricsParts, metricsRoute } from './http/routes/metrics.ts';
import { operations } from './http/routes/operations.ts';
import { querying } from './http/routes/queries.ts';
import { type RecordingParts, recording } from './http/routes/recording.ts';
import { type RejectionsParts, rejecting } from './http/routes/rejections.ts';
import { type SessionParts, sessions } from './http/routes/sessions.ts';

/** What the HTTP app is composed of. */
export interface AppParts {
  /** Who may do what, and from where. */
  readonly access: Pick<RecordingParts, 'verify'> &
    Pick<ErrorResponseParts, 'failedLogins'> &
    Pick<MetricsParts, 'metricsToken'> &
    SessionParts &
    Pick<AdministrationParts, 'acceptedBySecret'> &
    Pick<Config, 'corsOrigins' | 'trustedProxies'>;
  /** The write path. */
  readonly ingest: Pick<
    RecordingParts,
    'queue' | 'reservations' | 'idempotency' | 'stamper' | 'userNames' | 'ledger' | 'rows' | 'bytes' | 'actAs'
  > &
    Pick<RejectionsParts, 'rejections'>;
  /** What is read from. */
  readonly reading: Pick<AdministrationParts, 'queries'> & Pick<TailParts, 'tails'>;
  /** Erases a user; resolves once no query returns the user's rows. */
  readonly erase: AdministrationParts['erase'];
  readonly metrics: Metrics;
  readonly settings: Pick<AdministrationParts, 'limits' | 'queueBounds' | 'databasePath'> & {
    readonly idleTimeoutSeconds: number;
  };
  /** Whether the server accepts new records. */
  readonly isOpen: () => boolean;
  readonly log: Logger;
}

/**
 * Composes the HTTP app from its parts. It opens nothing and listens nowhere.
 *
 * A request that matches a route gets its ID and its clock, then the route's handler runs, then its time is taken;
 * the recording routes do all of that in their handler. Whatever is thrown on the way becomes an error response.
 */
export function createApp({ access, ingest, reading, settings, ...rest }: AppParts) {
  const parts = { ...access, ...ingest, ...reading, ...settings, ...rest };
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
      idleTimeout: bunTimeout(parts.idleTimeoutSeconds),
    },
  });
  const nextRequestId = createRequestIds();
  const addressOf = (request: Request) =>
    clientAddress(app.server?.requestIP(request)?.address ?? '', request.headers, parts.trustedProxies);
  const respond = createErrorResponder({ ...parts, addressOf });
  if (parts.corsOrigins) app.use(corsFor(parts.corsOrigins));
  return app
    .use(errorHandling(respond, () => app.routes, nextRequestId))
    .use(recording({ ...parts, respond, nextRequestId })) // before the hooks that follow: it does without them
    .use(requestStart(nextRequestId))
    .use(metricsRoute(parts))
    .use(querying(parts))
    .use(exporting(parts))
    .use(tailing(parts))
    .use(rejecting(parts))
    .use(administration(parts))
    .use(sessions(parts))
    .use(operations(parts))
    .use(docs())
    .use(dashboard());
}
