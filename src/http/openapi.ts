import type { DocumentDecoration } from 'elysia';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { EXAMPLE_ID, EXAMPLES } from './examples.ts';
import { ALL_BODIES, BODIES, ref } from './openapi-schemas.ts';
import { STATUS_BY_CODE } from './status.ts';

/*
 * The OpenAPI document, except its query parameters. Responses are documented here rather than passed to Elysia as
 * schemas, because Elysia would validate every response at run time.
 */

/** Returns the documentation of error responses by status, with an example per error code. */
export function errorResponses(codes: readonly ErrorCode[]): NonNullable<DocumentDecoration['responses']> {
  const statuses = [...new Set(codes.map((code) => STATUS_BY_CODE[code]))].sort();
  return Object.fromEntries(
    statuses.map((status) => {
      const codesOfStatus = codes.filter((code) => STATUS_BY_CODE[code] === status);
      const examples = Object.fromEntries(
        codesOfStatus.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
      );
      return [
        String(status),
        {
          description: codesOfStatus.map((code) => `\`${code}\`: ${ERRORS[code].message}`).join('\n\n'),
          content: { 'application/json': { schema: ref('ErrorResponse'), examples } },
        },
      ];
    }),
  );
}

/** Whose data a caller can read. */
const SCOPE = 'Users see only their own data; admins and viewers see the data of all users.';

/*
 * `operationId` is what generators call a route's function. It never changes.
 */

/** Documents a recording route. */
export function documentRecording(
  operationId: string,
  summary: string,
  description: string,
  body: keyof typeof BODIES,
  response: 'RecordId' | 'BatchIds' | 'OtlpMetricsResponse',
  { hasPartialSuccess = false } = {},
): DocumentDecoration {
  return {
    tags: ['Recording'],
    operationId,
    summary,
    description: `${description} A 200 response is sent only after the data is on disk.`,
    security: [{ bearer: [] }],
    parameters: [
      {
        name: 'X-Act-As-User-Id',
        in: 'header',
        required: false,
        description: "Records for this user instead of the token's user. Requires the role `admin`.",
        schema: { type: 'string', maxLength: 255 },
      },
      {
        name: 'Idempotency-Key',
        in: 'header',
        required: false,
        description:
          'Makes retries safe: for at least 24 hours, repeating a request with the same key and payload stores nothing and returns the cached response.',
        schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' },
      },
    ],
    requestBody: {
      required: true,
      content: { 'application/json': { schema: ref(body), example: BODIES[body]['example'] } },
    },
    responses: {
      '200': {
        description: 'Stored',
        headers: {
          'Idempotent-Replayed': {
            description: '`true` if this is the cached response to an earlier request with the same key',
            schema: { type: 'string' },
          },
        },
        content: { 'application/json': { schema: ref(response), example: EXAMPLES[response] } },
      },
      ...errorResponses([
        'invalid_json',
        'unauthorized',
        'forbidden',
        'payload_too_large',
        'unsupported_media_type',
        'validation_failed',
        'idempotency_mismatch',
        ...(hasPartialSuccess ? [] : (['too_many_names'] as const)),
        'rate_limited',
        'internal',
        'keys_unavailable',
        'storage_unavailable',
        'storage_full',
        'overloaded',
        'shutting_down',
      ]),
    },
  };
}

/** The error codes of routes that return data. */
const QUERY_ERRORS: readonly ErrorCode[] = [
  'unauthorized',
  'forbidden',
  'validation_failed',
  'query_too_large',
  'rate_limited',
  'internal',
  'not_supported',
  'keys_unavailable',
  'storage_unavailable',
  'queries_overloaded',
  'shutting_down',
];

const INGEST_LAG_HEADERS = {
  'X-Ingest-Lag-Rows': {
    description:
      'Number of committed rows that the column store has not applied yet, or with QUERY_URL, that this node has not forwarded yet. They are missing from the result, except from pages of records. Absent if there are none.',
    schema: { type: 'integer' },
  },
  'X-Ingest-Lag-Seconds': {
    description: 'Seconds since the oldest of these rows was received.',
    schema: { type: 'number' },
  },
} as const;

/** Documents a route that returns the result of a query. */
export function documentQuery(
  operationId: string,
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
  response: keyof typeof EXAMPLES,
  { hasIngestLag = true } = {},
): DocumentDecoration {
  return {
    tags: ['Queries'],
    operationId,
    summary,
    description: `${description} ${SCOPE}`,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The result',
        ...(hasIngestLag && { headers: INGEST_LAG_HEADERS }),
        content: { 'application/json': { schema: ref(response), example: EXAMPLES[response] } },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents the route that returns the offsets of a time zone. */
export function documentZone(
  operationId: string,
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  return {
    tags: ['Queries'],
    operationId,
    summary,
    description,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The UTC offsets',
        content: { 'application/json': { schema: ref('ZoneOffsets'), example: EXAMPLES.ZoneOffsets } },
      },
      ...errorResponses([
        'unauthorized',
        'validation_failed',
        'rate_limited',
        'internal',
        'keys_unavailable',
        'shutting_down',
      ]),
    },
  };
}

/** Documents the status route, whose response depends on the caller's role. */
export function documentStatus(): DocumentDecoration {
  return {
    tags: ['Administration'],
    operationId: 'getStatus',
    summary: 'Get the server status',
    description:
      'Returns the version, the durability guarantee and the limits on requests. Admins and viewers also get the ledger (counts of all items received since the database was created), storage sizes, the commit queue, the ingest lag, the query worker, pending erasures and deletions, and token counts per JWT secret.',
    security: [{ bearer: [] }],
    responses: {
      '200': {
        description: 'The status',
        content: {
          'application/json': {
            schema: ref('Status'),
            examples: { operator: { value: EXAMPLES.OperatorStatus }, user: { value: EXAMPLES.UserStatus } },
          },
        },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents the route that exchanges a sign-in code for a token. */
export function documentSession(): DocumentDecoration {
  return {
    tags: ['Administration'],
    operationId: 'createSession',
    summary: 'Exchange a sign-in code for a token',
    description:
      'Returns a bearer token for the code in a sign-in link. A code is valid for 10 minutes, works once, and is never accepted as a token itself.',
    requestBody: {
      required: true,
      content: { 'application/json': { schema: ref('SignIn'), example: ALL_BODIES.SignIn['example'] } },
    },
    responses: {
      '200': {
        description: 'The token',
        content: { 'application/json': { schema: ref('Session'), example: EXAMPLES.Session } },
      },
      ...errorResponses([
        'invalid_json',
        'unauthorized',
        'payload_too_large',
        'unsupported_media_type',
        'validation_failed',
        'rate_limited',
        'internal',
        'storage_unavailable',
        'storage_full',
        'shutting_down',
      ]),
    },
  };
}

const DEMO_ROUTES = {
  startDemo: {
    summary: 'Start the demo',
    description:
      'Requires the role `admin`. Writes three months of an invented shop to a database of its own, and returns a token for it. While it runs, the GET routes of this API also exist under `/demo`, where they return the invented data. Takes a few seconds; if the demo is running already, returns its token. The demo ends when its token expires, or with the server.',
    outcome: 'The demo is running',
    response: 'DemoSession',
    errors: ['storage_full'],
  },
  stopDemo: {
    summary: 'Stop the demo',
    description: 'Requires the role `admin`. Stops the demo and deletes its data.',
    outcome: 'There is no demo any more',
    response: 'DemoEnd',
    errors: [],
  },
} as const;

/** Documents a route that starts or stops the demo. */
export function documentDemo(operationId: keyof typeof DEMO_ROUTES): DocumentDecoration {
  const { summary, description, outcome, response, errors } = DEMO_ROUTES[operationId];
  return {
    tags: ['Administration'],
    operationId,
    summary,
    description,
    security: [{ bearer: [] }],
    responses: {
      '200': {
        description: outcome,
        content: { 'application/json': { schema: ref(response), example: EXAMPLES[response] } },
      },
      ...errorResponses([
        'unauthorized',
        'forbidden',
        'rate_limited',
        'internal',
        'keys_unavailable',
        'shutting_down',
        ...errors,
      ]),
    },
  };
}

/** Documents a route that erases a user. */
export function documentErasure(
  operationId: string,
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  return {
    tags: ['Administration'],
    operationId,
    summary,
    description,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The user was erased; queries no longer return the rows',
        content: { 'application/json': { schema: ref('Erasure'), example: EXAMPLES.Erasure } },
      },
      ...errorResponses([...QUERY_ERRORS, 'storage_full']),
    },
  };
}

/** Documents the route that reads the audit log. */
export function documentAuditLog(parameters: NonNullable<DocumentDecoration['parameters']>): DocumentDecoration {
  return {
    tags: ['Administration'],
    operationId: 'listAuditEntries',
    summary: 'Read the audit log',
    description:
      'Requires the role `admin`. Returns erasures, deletions of records, recordings for other users, and links to shared boards that were created or revoked, newest first. An erasure or a deletion has an entry when it began and another one when it ended. Users and names are keyed hashes; pass `user_id` to find the entries about a user. A page may contain fewer entries than `limit`; there are more pages until `next_cursor` is null.',
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'A page of entries',
        content: { 'application/json': { schema: ref('AuditLog'), example: EXAMPLES.AuditLog } },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents a route that deletes records. */
export function documentDeletion(
  operationId: string,
  summary: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  return {
    tags: ['Administration'],
    operationId,
    summary,
    description:
      'Requires the role `admin`. Deletes the matching records received before the request, and their share of all aggregates. Records received later are kept. The data is overwritten in every file. With `dry_run=true`, nothing is deleted, and `deleted` is the number of records that match.',
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The records were deleted; queries no longer return them',
        content: { 'application/json': { schema: ref('Deletion'), example: EXAMPLES.Deletion } },
      },
      ...errorResponses([...QUERY_ERRORS, 'storage_full']),
    },
  };
}

/** Documents a route that exports records. */
export function documentExport(
  operationId: string,
  summary: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  const text = { schema: { type: 'string' } } as const;
  return {
    tags: ['Queries'],
    operationId,
    summary,
    description: `Streams records, oldest first. To resume an interrupted NDJSON export, pass the ID of the last record you received as \`after\`. ${SCOPE}`,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The records',
        content: {
          'application/x-ndjson': text,
          'text/csv': text,
          'application/vnd.apache.parquet': { schema: { type: 'string', format: 'binary' } },
        },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/**
 * Documents a live tail.
 *
 * @param fields the fields of the example record that depend on its kind, as JSON
 */
export function documentTail(
  operationId: string,
  summary: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
  fields: string,
): DocumentDecoration {
  const head = `"id":"${EXAMPLE_ID}","user_id":"user-42","timestamp":"2026-03-01T10:00:00Z"`;
  const record = `{${head},"received_at":"2026-03-01T10:00:00.25Z",${fields}}`;
  return {
    tags: ['Queries'],
    operationId,
    summary,
    description: `Sends each record as a server-sent event as soon as it is on disk, until the token expires (\`expired\`) or the server stops. After the \`open\` event, every new record is either sent or counted in a \`skipped\` event. With QUERY_URL, a tail sends only the records of this node, and the \`open\` event has \`"scope":"node"\`. Open the tail before fetching existing records, and discard duplicates by \`id\`. At most 100 records are sent per 250 ms. Records that exceed this rate, or that the client is too slow to read, are dropped, and a \`skipped\` event in their place reports how many. After a disconnect, fetch missed records from \`/api/export\` with \`after\`. ${SCOPE}`,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description:
          'A stream of `open`, `record`, `skipped` and `expired` events, with a comment as a heartbeat at least every 10 seconds',
        content: {
          'text/event-stream': {
            schema: { type: 'string' },
            example: `event: open\ndata: {}\n\nid: ${EXAMPLE_ID}\nevent: record\ndata: ${record}\n\nevent: skipped\ndata: {"records":900}\n\n`,
          },
        },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents a probe. */
export function documentProbe(
  operationId: string,
  summary: string,
  description: string,
  codes: readonly ErrorCode[],
): DocumentDecoration {
  return {
    tags: ['Operations'],
    operationId,
    summary,
    description,
    responses: {
      '200': {
        description: 'The check passed',
        content: {
          'application/json': {
            schema: ref('Probe'),
            example: EXAMPLES.Probe,
          },
        },
      },
      ...errorResponses(codes),
    },
  };
}
