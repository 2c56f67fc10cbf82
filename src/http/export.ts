import { Elysia } from 'elysia';
import type { ExportFormat, ExportQuestion } from '../reading/export.ts';
import type { Reader } from '../reading/reader.ts';
import type { Kind } from '../storage/columns.ts';
import { seqOfId } from '../storage/record-id.ts';
import { authenticate } from './auth.ts';
import { exportRoute } from './openapi.ts';
import { documented, EXPORT, RANGE, RECORD_FILTERS, readQuery, readRecordFilter, USER_ID } from './query.ts';
import { type ReadingParts, scopeOf } from './reading.ts';

const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
  parquet: 'application/vnd.apache.parquet',
};

/** The routes that stream records out. */
export function exporting({ verify, reader }: ReadingParts) {
  const stream = async (request: Request, kind: Kind): Promise<Response> => {
    const principal = await authenticate(request.headers, verify);
    const query = readQuery(request.url, EXPORT);
    const filter = readRecordFilter(request.url, kind, (named) => scopeOf(principal, named));
    const format = query.format ?? 'ndjson';
    const parts = await partsOf(reader, {
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
      detail: exportRoute(
        'Export metrics',
        documented({ ...EXPORT, ...RANGE, ...RECORD_FILTERS.metric, user_id: USER_ID }),
      ),
    })
    .get('/api/export/analytics', ({ request }) => stream(request, 'analytics'), {
      detail: exportRoute(
        'Export events',
        documented({ ...EXPORT, ...RANGE, ...RECORD_FILTERS.analytics, user_id: USER_ID }),
      ),
    });
}

/** The parts of an export, each made when the one before has been taken. */
async function partsOf(reader: Reader, question: ExportQuestion): Promise<ReadableStream<Uint8Array>> {
  const id = await reader.ask('openExport', question);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = await reader.ask('nextPart', id);
        if (part) controller.enqueue(part);
        else controller.close();
      },
      async cancel() {
        await reader.ask('closeExport', id);
      },
    },
    { highWaterMark: 1 },
  );
}
