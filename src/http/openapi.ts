import type { TSchema } from '@sinclair/typebox';
import type { DocumentDecoration } from 'elysia';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { STATUS_BY_CODE } from './status.ts';

/*
 * The parts of the OpenAPI document that are not the schemas of bodies. Engine are described here and
 * not given to Elysia as schemas: it would check every answer against them, at run time.
 */

const ERROR_SCHEMA = {
  type: 'object',
  required: ['code', 'message', 'hint', 'request_id', 'detail'],
  properties: {
    code: { type: 'string', enum: Object.keys(ERRORS) },
    message: { type: 'string', description: 'What went wrong' },
    hint: { type: 'string', description: 'What to do about it' },
    request_id: { type: 'string', description: 'Also the X-Request-Id header; the server logs the cause under it' },
    detail: {
      description: 'For 422 a list of faults; for 5xx message and hint; otherwise the message',
      oneOf: [
        {
          type: 'array',
          items: {
            type: 'object',
            required: ['loc', 'msg', 'type'],
            properties: {
              loc: { type: 'array', items: { oneOf: [{ type: 'string' }, { type: 'integer' }] } },
              msg: { type: 'string' },
              type: { type: 'string' },
            },
          },
        },
        {
          type: 'object',
          required: ['message', 'hint'],
          properties: { message: { type: 'string' }, hint: { type: 'string' } },
        },
        { type: 'string' },
      ],
    },
  },
};

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
  schemas: { Error: ERROR_SCHEMA },
} as const;

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
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' }, examples } },
        },
      ];
    }),
  );
}

function exampleOf(code: ErrorCode, status: number) {
  const { message, hint } = ERRORS[code];
  const faults = [{ loc: ['body', 'data_string'], msg: 'Field required', type: 'missing' }];
  const detail = code === 'validation_failed' ? faults : status >= 500 ? { message, hint } : message;
  return { code, message, hint, request_id: '3f9c0a5e7b21-1c', detail };
}

/** An id as examples show it. */
export const EXAMPLE_ID = '019aab3c-5f00-7001-9c3e-5a1d7f0b2c44';

/** Documents a route that records; the schema is that of its body. */
export function recordingRoute(
  summary: string,
  description: string,
  body: TSchema,
  stored: { description: string; schema: object; example: unknown } = {
    description: "The new row's id, a UUIDv7",
    schema: { type: 'string', format: 'uuid' },
    example: EXAMPLE_ID,
  },
): DocumentDecoration {
  return {
    tags: ['Recording'],
    summary,
    description: `${description} The answer comes after the row is on the disk.`,
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
    // TypeBox's schemas are JSON Schema; OpenAPI's type is narrower in words, not in substance
    requestBody: { required: true, content: { 'application/json': { schema: body as object } } },
    responses: {
      '200': {
        description: stored.description,
        headers: {
          'Idempotent-Replayed': {
            description: '`true` where the answer was given before',
            schema: { type: 'string' },
          },
        },
        content: { 'application/json': { schema: stored.schema, example: stored.example } },
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

/** Documents a route that answers a question. */
export function queryRoute(
  summary: string,
  description: string,
  parameters: NonNullable<DocumentDecoration['parameters']>,
  example: object,
): DocumentDecoration {
  return {
    tags: ['Reading'],
    summary,
    description: `${description} A token sees the rows of its own user, one with the role \`admin\` those of all.`,
    security: [{ bearer: [] }],
    parameters,
    responses: {
      '200': { description: 'The answer', content: { 'application/json': { schema: { type: 'object' }, example } } },
      ...errorResponses(QUERY_ERRORS),
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
    tags: ['Reading'],
    summary,
    description:
      'Streams records, oldest first. An export in NDJSON that broke off goes on with `after`. A token exports the rows of its own user, one with the role `admin` those of all.',
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
    tags: ['Reading'],
    summary,
    description:
      'Sends each record as soon as it is on the disk, as a server-sent event, until the token expires (`expired`) or the server stops. After `open` none is missing: what is read elsewhere from then on may overlap, and is told apart by its `id`. Of more than 100 records in a quarter of a second, or more than the client reads, the rest is left out, and counted by `skipped` where it is missing. What a broken connection has missed gives `/api/export` with `after`. A token sees the rows of its own user, one with the role `admin` those of all.',
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
            schema: { type: 'object', required: ['status'], properties: { status: { type: 'string', enum: ['ok'] } } },
            example: { status: 'ok' },
          },
        },
      },
      ...errorResponses(failures),
    },
  };
}
