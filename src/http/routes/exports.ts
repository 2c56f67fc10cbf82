import { Elysia } from 'elysia';
import type { ExportFormat, ExportQuery } from '../../export/export.ts';
import type { QueryClient } from '../../query/client.ts';
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

const EXPORT_PARAMETERS = {
  metric: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.metric },
  analytics: { ...EXPORT, ...RANGE, ...RECORD_FILTERS.analytics },
};

/** The routes that stream records out. */
export function exporting({ verify, queries }: QueryParts) {
  const stream = async (request: Request, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request, EXPORT_PARAMETERS[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const format = query.format ?? 'ndjson';
    const parts = await partsOf(queries, {
      kind,
      format,
      filter,
      safe: query.formulas === 'escape',
      after: query.after === undefined ? 0 : seqOfId(query.after),
    });
    const file = `${kind === 'metric' ? 'metrics' : 'analytics'}.${format}`;
    return new Response(parts, {
      headers: { 'content-type': MEDIA_TYPES[format], 'content-disposition': `attachment; filename="${file}"` },
    });
  };

  return new Elysia({ name: 'export' })
    .get('/api/export/metrics', ({ request }) => stream(request, 'metric'), {
      detail: exportRoute('Export metrics', documented(EXPORT_PARAMETERS.metric)),
    })
    .get('/api/export/analytics', ({ request }) => stream(request, 'analytics'), {
      detail: exportRoute('Export events', documented(EXPORT_PARAMETERS.analytics)),
    });
}

/** The parts of an export, each made when the one before has been taken. */
async function partsOf(queries: QueryClient, question: ExportQuery): Promise<ReadableStream<Uint8Array>> {
  const id = await queries.maintain('openExport', question);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = await queries.maintain('nextPart', id);
        if (part) controller.enqueue(part);
        else controller.close();
      },
      async cancel() {
        await queries.maintain('closeExport', id);
      },
    },
    { highWaterMark: 1 },
  );
}
