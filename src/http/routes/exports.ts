import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { ExportFormat } from '../../export/export.ts';
import type { Kind } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';
import { authenticate } from '../auth.ts';
import { exportRoute } from '../openapi.ts';
import { documented, EXPORT, RANGE, RECORD_FILTERS, readQuery, recordFilter } from '../parameters.ts';
import { type QueryParts, scopeOf } from './queries.ts';

const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
  parquet: 'application/vnd.apache.parquet',
};

/** What an export needs of its request. */
interface Streamed {
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
  readonly requestId: string;
}

const EXPORT_PARAMETERS = {
  metric: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.metric },
  analytics: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.analytics },
};

/** The routes that stream records out. */
export function exporting({ verify, queries, log }: QueryParts & { readonly log: Logger }) {
  const stream = async ({ request, server, requestId }: Streamed, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request, EXPORT_PARAMETERS[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const format = query.format ?? 'ndjson';
    const exported = {
      kind,
      format,
      filter,
      safe: query.formulas === 'escape',
      after: query.after === undefined ? 0 : seqOfId(query.after),
    };
    // how long nobody may read it is decided by the export itself
    server?.timeout(request, 0);
    const caller = { userId: principal.userId, signal: request.signal };
    const parts = await queries.export(exported, caller, (error) => {
      log.error({ request_id: requestId, err: error }, 'an export was broken off');
      // a client that does not read keeps its connection open: Bun closes it once nothing has moved for a second
      server?.timeout(request, 1);
    });
    const file = `${kind === 'metric' ? 'metrics' : 'analytics'}.${format}`;
    return new Response(parts, {
      headers: { 'content-type': MEDIA_TYPES[format], 'content-disposition': `attachment; filename="${file}"` },
    });
  };

  return new Elysia({ name: 'export' })
    .decorate('requestId', '') // set by request-start.ts
    .get('/api/export/metrics', ({ request, server, requestId }) => stream({ request, server, requestId }, 'metric'), {
      detail: exportRoute('Export metrics', documented(EXPORT_PARAMETERS.metric)),
    })
    .get(
      '/api/export/analytics',
      ({ request, server, requestId }) => stream({ request, server, requestId }, 'analytics'),
      { detail: exportRoute('Export events', documented(EXPORT_PARAMETERS.analytics)) },
    );
}
