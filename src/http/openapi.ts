import type { TSchema } from '@sinclair/typebox';
import type { DocumentDecoration } from 'elysia';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { analyticsCheck, batchCheck, metricCheck, signInCheck } from '../records.ts';
import { RESPONSES } from '../responses.ts';
import { EXAMPLE_ID, EXAMPLES } from './examples.ts';
import { STATUS_BY_CODE } from './status.ts';

/*
 * The OpenAPI document beside its parameters. Responses are described here and not given to Elysia as schemas: it
 * would check every response against them, at run time.
 */

/** A schema as OpenAPI 3.0 has it: null is a flag of a schema there, and a constant a list of one. */
function openApiSchema(schema: TSchema): object {
  return convert(JSON.parse(JSON.stringify(schema))) as object;
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert);
  if (typeof value !== 'object' || value === null) return value;
  const { const: constant, anyOf, patternProperties, ...rest } = value as Record<string, unknown>;
  // generated clients take an empty list of properties for an object without any
  if (rest['additionalProperties'] === true && isEmpty(rest['properties'])) delete rest['properties'];
  const converted = Object.fromEntries(Object.entries(rest).map(([key, one]) => [key, convert(one)]));
  if (constant !== undefined) return { ...converted, enum: [constant] };
  if (patternProperties) {
    const [values] = Object.values(patternProperties as Record<string, unknown>);
    return { ...converted, additionalProperties: convert(values) };
  }
  if (!Array.isArray(anyOf)) return converted;
  if (anyOf.every((one) => typeof one.const === 'string')) {
    return { ...converted, type: 'string', enum: anyOf.map((one) => one.const) };
  }
  const schemas = anyOf.filter((one) => one.type !== 'null').map(convert) as object[];
  const isNullable = schemas.length < anyOf.length && { nullable: true };
  if (schemas.length === 1) return { ...schemas[0], ...converted, ...isNullable };
  return { ...converted, ...isNullable, oneOf: schemas };
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** A reference to a component. */
function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` };
}

/** The bodies of the recording routes, by the names of their components. */
const BODIES = { Metric: metricCheck.Schema(), Analytics: analyticsCheck.Schema(), Batch: batchCheck.Schema() };

/** The bodies of all routes that take one. */
const ALL_BODIES = { ...BODIES, SignIn: signInCheck.Schema() };

/** The shared components of the document. */
export const COMPONENTS = {
  securitySchemes: {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'A token of your product, or one that `rawlog token --sub ID` prints',
    },
  },
  schemas: Object.fromEntries(
    Object.entries<TSchema>({ ...ALL_BODIES, ...RESPONSES }).map(([name, schema]) => [name, openApiSchema(schema)]),
  ),
};

/** The answers for errors, as OpenAPI knows them: by status, each with an example for every code. */
function errorResponses(codes: readonly ErrorCode[]): NonNullable<DocumentDecoration['responses']> {
  const statuses = [...new Set(codes.map((code) => STATUS_BY_CODE[code]))].sort();
  return Object.fromEntries(
    statuses.map((status) => {
      const here = codes.filter((code) => STATUS_BY_CODE[code] === status);
      const examples = Object.fromEntries(here.map((code) => [code, { value: exampleOf(code, status) }]));
      return [
        String(status),
        {
          description: here.map((code) => `\`${code}\`: ${ERRORS[code].message}`).join('\n\n'),
          content: { 'application/json': { schema: ref('Error'), examples } },
        },
      ];
    }),
  );
}

function exampleOf(code: ErrorCode, status: number) {
  const { message, hint } = ERRORS[code];
  const issues = [{ loc: ['body', 'data_string'], msg: 'Field required', type: 'missing' }];
  const detail = code === 'validation_failed' ? issues : status >= 500 ? { message, hint } : message;
  return { code, message, hint, request_id: '3f9c0a5e7b21-1c', detail };
}

/** Documents a route that records. */
export function recordingRoute(
  summary: string,
  description: string,
  body: keyof typeof BODIES,
  response: 'RecordId' | 'BatchIds',
): DocumentDecoration {
  return {
    tags: ['Recording'],
    summary,
    description: `${description} The response is sent once the data is on disk.`,
    security: [{ bearer: [] }],
    parameters: [
      {
        name: 'X-Act-As-User-Id',
        in: 'header',
        required: false,
        description: 'For tokens with the role `admin`: record for this user instead',
        schema: { type: 'string', maxLength: 255 },
      },
      {
        name: 'Idempotency-Key',
        in: 'header',
        required: false,
        description:
          'Makes a retry safe: the same key with the same payload gets the first answer again, for at least 24 hours',
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
            description: '`true` if this is the first response again',
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
        'too_many_names',
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

/** The errors of every route that reads. */
const QUERY_ERRORS: readonly ErrorCode[] = [
  'unauthorized',
  'forbidden',
  'validation_failed',
  'query_too_large',
  'rate_limited',
  'internal',
  'keys_unavailable',
  'storage_unavailable',
  'queries_overloaded',
  'shutting_down',
];

const INGEST_LAG_HEADERS = {
  'X-Ingest-Lag-Rows': {
    description: 'Committed rows that the result lacks, because the column store is behind; absent if there are none',
    schema: { type: 'integer' },
  },
  'X-Ingest-Lag-Seconds': { description: 'How long ago the oldest of them was received', schema: { type: 'number' } },
} as const;

/** Documents a route that returns the result of a query. */
export function queryRoute(
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
  response: keyof typeof EXAMPLES,
  tag: 'Queries' | 'Administration' = 'Queries',
): DocumentDecoration {
  return {
    tags: [tag],
    summary,
    description: `${description} A token sees the rows of its own user; admins and viewers see all rows.`,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The result',
        headers: INGEST_LAG_HEADERS,
        content: { 'application/json': { schema: ref(response), example: EXAMPLES[response] } },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents the offsets of a time zone. */
export function zoneRoute(
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  return {
    tags: ['Queries'],
    summary,
    description,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'The offsets',
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

/** Documents the status, whose content depends on the role. */
export function statusRoute(): DocumentDecoration {
  return {
    tags: ['Administration'],
    summary: 'Status of the server',
    description:
      'For admins and viewers: the ledger of every item since the database was created, storage, queue, lag of the column store, erasures, durability and version. For everyone else: version, durability and the limits that apply to them.',
    security: [{ bearer: [] }],
    responses: {
      '200': {
        description: 'The status',
        content: {
          'application/json': {
            schema: { oneOf: [ref('OperatorStatus'), ref('UserStatus')] },
            examples: { operator: { value: EXAMPLES.OperatorStatus }, user: { value: EXAMPLES.UserStatus } },
          },
        },
      },
      ...errorResponses(QUERY_ERRORS),
    },
  };
}

/** Documents the exchange of a sign-in code. */
export function sessionRoute(): DocumentDecoration {
  return {
    tags: ['Administration'],
    summary: 'Exchange a sign-in code',
    description:
      'Returns a token for the code of a sign-in link. A code is valid for 10 minutes and works once; it is not accepted as a token anywhere.',
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

/** Documents the erasure of a user. */
export function erasureRoute(
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  return {
    tags: ['Administration'],
    summary,
    description,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'No query returns the rows any more',
        content: { 'application/json': { schema: ref('Erasure'), example: EXAMPLES.Erasure } },
      },
      ...errorResponses([...QUERY_ERRORS, 'storage_full']),
    },
  };
}

/** Documents a route that streams records. */
export function exportRoute(
  summary: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
): DocumentDecoration {
  const text = { schema: { type: 'string' } } as const;
  return {
    tags: ['Queries'],
    summary,
    description:
      'Streams records, oldest first. An export in NDJSON that broke off goes on with `after`. A token exports the rows of its own user, admins and viewers those of all.',
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
 * Documents a route that sends records as they are stored.
 *
 * @param fields those of a record that differ by kind, as JSON, for the example
 */
export function tailRoute(
  summary: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
  fields: string,
): DocumentDecoration {
  const head = `"id":"${EXAMPLE_ID}","user_id":"user-42","timestamp":"2026-03-01T10:00:00Z"`;
  const record = `{${head},"received_at":"2026-03-01T10:00:00.25Z",${fields}}`;
  return {
    tags: ['Queries'],
    summary,
    description:
      'Sends each record as soon as it is on the disk, as a server-sent event, until the token expires (`expired`) or the server stops. After `open` none is missing: what is read elsewhere from then on may overlap, and is told apart by its `id`. Of more than 100 records in a quarter of a second, or more than the client reads, the rest is left out, and counted by `skipped` where it is missing. What a broken connection has missed gives `/api/export` with `after`. A token sees the rows of its own user, admins and viewers those of all.',
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': {
        description: 'Events: `open`, `record`, `skipped`, `expired`; a comment at least every 15 seconds',
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

/** Documents a probe: a route that answers with a word, or with 503. */
export function probeRoute(summary: string, description: string, failures: readonly ErrorCode[]): DocumentDecoration {
  return {
    tags: ['Operations'],
    summary,
    description,
    responses: {
      '200': {
        description: 'Yes',
        content: {
          'application/json': {
            schema: ref('Probe'),
            example: EXAMPLES.Probe,
          },
        },
      },
      ...errorResponses(failures),
    },
  };
}
