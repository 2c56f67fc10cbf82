import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { clientAddress, connectionFinder, type ReceivedConnections } from './http/client-address.ts';
import { corsFor } from './http/cors.ts';
import { createErrorResponder, type ErrorResponseParts, errorHandling } from './http/error-response.ts';
import type { RequestHead } from './http/header-fields.ts';
import { bunTimeout } from './http/idle-timeout.ts';
import type { Metrics } from './http/metrics.ts';
import type { RecordingParts } from './http/recording-handler.ts';
import { createRequestIds, requestStart } from './http/request-start.ts';
import { type AdministrationParts, administrationRoutes } from './http/routes/administration.ts';
import { type AnnotationParts, annotationRoutes } from './http/routes/annotations.ts';
import { type AuditLogParts, auditLogRoutes } from './http/routes/audit.ts';
import { type BoardParts, boardRoutes } from './http/routes/boards.ts';
import { dashboardRoutes } from './http/routes/dashboard.ts';
import { type DeletionParts, deletionRoutes } from './http/routes/deletion.ts';
import { type DemoParts, demoRoutes } from './http/routes/demo.ts';
import { docsRoutes } from './http/routes/docs.ts';
import { exportRoutes } from './http/routes/exports.ts';
import { type TailParts, tailRoutes } from './http/routes/live-tails.ts';
import { type MetricsParts, metricsRoute } from './http/routes/metrics.ts';
import { operationsRoutes } from './http/routes/operations.ts';
import { otlpMetricsRoute } from './http/routes/otlp-metrics.ts';
import { type QueryParts, queryRoutes } from './http/routes/queries.ts';
import { type ReceivedRoutes, recordingRoutes } from './http/routes/recording.ts';
import { type RejectionsParts, rejectionRoutes } from './http/routes/rejections.ts';
import { type SessionParts, sessionRoutes } from './http/routes/sessions.ts';
import { type SharedParts, sharedRoutes } from './http/routes/shared.ts';
import { type UnitParts, unitRoutes } from './http/routes/units.ts';
import type { Tracing } from './http/tracing.ts';
import { ReceivedRequest } from './receiving/received-request.ts';

/** Dependencies of the HTTP app. */
export interface AppParts {
  /** Authentication and access control. */
  readonly access: Pick<RecordingParts, 'verify'> &
    Pick<ErrorResponseParts, 'failedAuthentications'> &
    Pick<MetricsParts, 'metricsToken'> &
    SessionParts &
    Pick<AdministrationParts, 'acceptedBySecret'> &
    Pick<AuditLogParts, 'hashUser'> &
    Pick<Config, 'corsOrigins' | 'trustedProxies'>;
  /** The write path. */
  readonly ingest: Pick<
    RecordingParts,
    | 'queue'
    | 'reservations'
    | 'freeSpace'
    | 'idempotency'
    | 'stamper'
    | 'userNames'
    | 'ledger'
    | 'rows'
    | 'bytes'
    | 'actAs'
  > &
    Pick<RejectionsParts, 'rejections'> &
    Pick<AdministrationParts, 'freeSpace'>;
  /** The read path. */
  readonly reading: Pick<AdministrationParts, 'queries' | 'slowQueries'> &
    Pick<QueryParts, 'engine'> &
    Pick<TailParts, 'tails'>;
  /** Boards, shared links, annotations and units. */
  readonly boards: Pick<BoardParts, 'boards' | 'links' | 'drawChart' | 'audit'> &
    Pick<SharedParts, 'sharedCharts' | 'linkRequests'> &
    Pick<AnnotationParts, 'annotations'> &
    Pick<UnitParts, 'units'>;
  /** Erases users and deletes records. */
  readonly removal: Pick<AdministrationParts, 'erase' | 'hashForLog'> & Pick<DeletionParts, 'deleteRecords'>;
  readonly demo: DemoParts['demo'];
  readonly metrics: Metrics;
  /** Undefined if traces are not exported. */
  readonly tracing: Tracing | undefined;
  readonly settings: Pick<
    AdministrationParts,
    'limits' | 'queueBounds' | 'databasePath' | 'syncStatus' | 'lastBackupAt' | 'backupSchedule' | 'retention' | 'sinks'
  > & {
    readonly idleTimeoutSeconds: number;
    /** The origins whose pages may embed shared boards; undefined for none. */
    readonly embedOrigins: Config['embedOrigins'];
  };
  /** Undefined if this thread receives all requests. */
  readonly receiving: (ReceivedConnections & ReceivedRoutes) | undefined;
  /** Whether the server accepts new records. */
  readonly isOpen: () => boolean;
  readonly log: Logger;
}

/**
 * Creates the HTTP app from its dependencies. It opens no files and does not listen.
 *
 * A request that matches a route is assigned an ID and a start time, then the route's handler runs, then the duration
 * is observed. The recording routes do all of this in their handler. Anything thrown becomes an error response.
 */
export function createApp({ access, ingest, reading, boards, removal, settings, ...rest }: AppParts) {
  const parts = { ...access, ...ingest, ...reading, ...boards, ...removal, ...settings, ...rest };
  const app = new Elysia({
    // by default, Elysia rewrites values before validation, so a list would pass as an empty object
    normalize: false,
    // by default, a path with a trailing slash matches the same route, but not in all cases
    strictPath: true,
    // by default, Elysia searches for the path from the 11th character of the URL and misses it after a short host
    handler: { standardHostname: false },
    serve: {
      // true, the default, silently lets a second server listen on the same port
      reusePort: false,
      // the body parser limits bodies and returns an error response; Bun's own limit returns an empty response
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      idleTimeout: bunTimeout(parts.idleTimeoutSeconds),
    },
  });
  const nextRequestId = createRequestIds();
  const findConnection = connectionFinder(parts.receiving);
  const addressOf = (request: RequestHead) => {
    // all requests that no receiver has read are Bun's own
    const peer =
      request instanceof ReceivedRequest
        ? request.peer
        : findConnection(request as Request, app.server)?.client.address;
    return clientAddress(peer ?? '', request.headers, parts.trustedProxies);
  };
  const respond = createErrorResponder({ ...parts, addressOf });
  if (parts.corsOrigins) app.use(corsFor(parts.corsOrigins));
  return app
    .use(errorHandling(respond, () => app.routes, nextRequestId))
    .use(recordingRoutes({ ...parts, respond, nextRequestId, received: parts.receiving?.received })) // before the hooks below, which it does not use
    .use(otlpMetricsRoute({ ...parts, respond, nextRequestId })) // likewise
    .use(requestStart(nextRequestId))
    .use(parts.tracing?.hooks() ?? new Elysia())
    .use(metricsRoute(parts))
    .use(queryRoutes(parts))
    .use(exportRoutes({ ...parts, findConnection }))
    .use(tailRoutes(parts))
    .use(rejectionRoutes(parts))
    .use(administrationRoutes(parts))
    .use(deletionRoutes(parts))
    .use(auditLogRoutes(parts))
    .use(sessionRoutes(parts))
    .use(boardRoutes(parts))
    .use(sharedRoutes(parts))
    .use(annotationRoutes(parts))
    .use(unitRoutes(parts))
    .use(demoRoutes(parts))
    .use(operationsRoutes(parts))
    .use(docsRoutes())
    .use(dashboardRoutes(parts.embedOrigins));
}
