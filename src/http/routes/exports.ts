import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { canReadAll } from '../../auth/verifier.ts';
import type { ExportFormat } from '../../export/export.ts';
import type { FinishedQuery } from '../../query/caller.ts';
import { unsentBytes } from '../../receiving/unsent-bytes.ts';
import type { Kind } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';
import { authenticate } from '../auth.ts';
import type { ConnectedServer, FindConnection } from '../client-address.ts';
import { documentExport } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import { EXPORT, RANGE, RECORD_FILTERS, recordFilter } from '../query-parameters.ts';
import { type QueryParts, scopeOf } from './queries.ts';

const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
  parquet: 'application/vnd.apache.parquet',
};

/** Keeps a browser that opens an export as a page from running or loading what was recorded. */
const CONTENT_SECURITY_POLICY = "sandbox; default-src 'none'";

/** Dependencies of the routes that export records. */
export type ExportParts = QueryParts & { readonly findConnection: FindConnection; readonly log: Logger };

/** The request context of an export. */
interface ExportContext {
  readonly request: Request;
  readonly server: (ConnectedServer & Pick<Bun.Server<unknown>, 'timeout'>) | null;
  readonly requestId: string;
}

const EXPORT_PARAMETERS = {
  metric: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.metric },
  analytics: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.analytics },
};

/** Creates the routes that export records. */
export function exportRoutes({ verify, engine, metrics, tracing, findConnection, log }: ExportParts) {
  const exportRecords = async ({ request, server, requestId }: ExportContext, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request, EXPORT_PARAMETERS[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const format = query.format ?? 'ndjson';
    const argument = {
      kind,
      format,
      filter,
      safe: query.formulas === 'escape',
      after: query.after === undefined ? 0 : seqOfId(query.after),
      afterId: query.after,
    };
    // the export has its own timeout for clients that do not read
    server?.timeout(request, 0);
    const caller = {
      userId: principal.userId,
      canReadAll: canReadAll(principal),
      signal: request.signal,
      onFinished(finished: FinishedQuery) {
        metrics.query('export', finished);
        tracing?.query(request, 'export', finished);
      },
    };
    const onBroken = (error: unknown) => {
      log.error({ request_id: requestId, err: error }, 'export aborted');
      // otherwise, a client that does not read would keep its connection open; Bun closes it after one idle second
      server?.timeout(request, 1);
    };
    const connection = findConnection(request, server);
    const unsent = connection && unsentBytes.bind(undefined, connection.client, connection.serverPort);
    const parts = await engine.export(argument, caller, onBroken, unsent);
    const file = `${kind === 'metric' ? 'metrics' : 'analytics'}.${format}`;
    return new Response(parts, {
      headers: {
        'content-type': MEDIA_TYPES[format],
        'content-disposition': `attachment; filename="${file}"`,
        'content-security-policy': CONTENT_SECURITY_POLICY,
      },
    });
  };

  return new Elysia({ name: 'export' })
    .decorate('requestId', '') // set by request-start.ts
    .get(
      '/api/export/metrics',
      ({ request, server, requestId }) => exportRecords({ request, server, requestId }, 'metric'),
      {
        detail: documentExport('exportMetrics', 'Export metrics', documentParameters(EXPORT_PARAMETERS.metric)),
      },
    )
    .get(
      '/api/export/analytics',
      ({ request, server, requestId }) => exportRecords({ request, server, requestId }, 'analytics'),
      { detail: documentExport('exportEvents', 'Export events', documentParameters(EXPORT_PARAMETERS.analytics)) },
    );
}
