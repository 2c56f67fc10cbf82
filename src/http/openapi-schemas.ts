import type { TSchema } from '@sinclair/typebox';
import { annotationCheck, boardCheck, linkCheck, unitCheck } from '../board-bodies.ts';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { analyticsCheck, batchCheck, metricCheck, signInCheck } from '../records.ts';
import { RESPONSES } from '../responses.ts';
import { OtlpMetricsRequest } from './otlp-metrics-schema.ts';
import { STATUS_BY_CODE } from './status.ts';

/*
 * The components of the OpenAPI document. Code generators name types after them.
 */

/** Formats that only the validation knows; generators would not recognize the type of such a text. */
const INTERNAL_FORMATS: ReadonlySet<unknown> = new Set(['unicode', 'user-id']);

/** Converts a JSON Schema to OpenAPI 3.0, where null is a flag and a constant is an enum with one value. */
function openApiSchema(schema: TSchema): object {
  return convert(JSON.parse(JSON.stringify(schema))) as object;
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert);
  if (typeof value !== 'object' || value === null) return value;
  const { const: constant, anyOf, patternProperties, ...rest } = value as Record<string, unknown>;
  if (INTERNAL_FORMATS.has(rest['format'])) delete rest['format'];
  // generated clients would treat an empty list of properties as an object without any
  if (rest['additionalProperties'] === true && isEmpty(rest['properties'])) delete rest['properties'];
  // in TypeScript, the type of further properties would have to include those of the named ones
  if (rest['properties'] && typeof rest['additionalProperties'] === 'object') rest['additionalProperties'] = true;
  const converted = Object.fromEntries(Object.entries(rest).map(([key, inner]) => [key, convert(inner)]));
  if (constant !== undefined) return { ...converted, enum: [constant] };
  if (patternProperties) {
    const [values] = Object.values(patternProperties as Record<string, unknown>);
    return { ...converted, additionalProperties: rest['properties'] ? true : convert(values) };
  }
  if (!Array.isArray(anyOf)) return converted;
  if (anyOf.every((schema) => typeof schema.const === 'string')) {
    return { ...converted, type: 'string', enum: anyOf.map((schema) => schema.const) };
  }
  const schemas = anyOf.filter((schema) => schema.type !== 'null').map(convert) as object[];
  const nullable = schemas.length < anyOf.length && { nullable: true };
  if (schemas.length === 1) return { ...schemas[0], ...converted, ...nullable };
  return { ...converted, ...nullable, oneOf: schemas };
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Returns a reference to a component. */
export function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` };
}

/** The bodies of the recording routes, by component name. */
export const BODIES = {
  Metric: metricCheck.Schema(),
  Analytics: analyticsCheck.Schema(),
  Batch: batchCheck.Schema(),
  OtlpMetricsRequest,
};

/** The bodies of all routes, by component name. */
export const ALL_BODIES = {
  ...BODIES,
  SignIn: signInCheck.Schema(),
  BoardBody: boardCheck.Schema(),
  LinkBody: linkCheck.Schema(),
  AnnotationBody: annotationCheck.Schema(),
  UnitBody: unitCheck.Schema(),
};

/** Returns the body of an error response. */
function exampleOf(code: ErrorCode) {
  const status = STATUS_BY_CODE[code];
  const { message, hint } = ERRORS[code];
  const issues = [{ loc: ['body', 'data_string'], msg: 'Field required', type: 'missing' }];
  const detail = code === 'validation_failed' ? issues : status >= 500 ? { message, hint } : message;
  return { code, message, hint, request_id: '3f9c0a5e7b21-1c', detail };
}

/** The shared components of the document. */
export const COMPONENTS = {
  securitySchemes: {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'A token issued by your product, or one printed by `rawlog token --sub ID`.',
    },
    boardLink: { type: 'apiKey', in: 'header', name: 'X-Board-Link', description: 'The value of a shared link.' },
  },
  examples: Object.fromEntries((Object.keys(ERRORS) as ErrorCode[]).map((code) => [code, { value: exampleOf(code) }])),
  schemas: {
    ...Object.fromEntries(
      Object.entries<TSchema>({ ...ALL_BODIES, ...RESPONSES }).map(([name, schema]) => [name, openApiSchema(schema)]),
    ),
    Status: { oneOf: [ref('OperatorStatus'), ref('UserStatus')], description: "Depends on the caller's role" },
  },
};
