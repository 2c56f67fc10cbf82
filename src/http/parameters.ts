import type { DocumentDecoration } from 'elysia';
import { ApiError, type ValidationIssue } from '../errors.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { targetOf } from './request-target.ts';
import { MAX_ISSUES } from './validation.ts';

/** A query parameter: its documentation and its parser. */
export interface Parameter<Value> {
  readonly description: string;
  /** Its JSON Schema in the OpenAPI document. */
  readonly schema: object;
  readonly required?: true;
  /** For a repeatable parameter, whose value is a list: how many times it may occur. */
  readonly repeated?: {
    readonly min: number;
    readonly max: number;
    /** Returns the message for a count out of range. */
    readonly msg: (count: number) => string;
  };
  /** Returns the value, or a validation issue in pydantic's wording. */
  readonly parse: (text: string) => Parsed<Value>;
}

/** A parsed value, or a validation issue. */
export type Parsed<Value> = { readonly value: Value } | Pick<ValidationIssue, 'msg' | 'type'>;

/** A family of parameters: all those whose names begin with a prefix. */
export interface ParameterFamily<Value> {
  readonly description: string;
  /** The JSON Schema of one value. */
  readonly schema: object;
  readonly prefix: string;
  /** Returns the value of the family, given the texts of each parameter. */
  readonly parseAll: (texts: ReadonlyMap<string, readonly string[]>, addIssue: AddIssue) => Value;
}

/** Reports a validation issue of a parameter. */
type AddIssue = (name: string, issue: Pick<ValidationIssue, 'msg' | 'type'>) => void;

/** The values of query parameters; undefined for absent ones. */
export type Values<Known extends Parameters> = {
  [Name in keyof Known]: Known[Name] extends ParameterFamily<infer Value>
    ? Value
    : Known[Name] extends Parameter<infer Value>
      ? Known[Name] extends { repeated: object }
        ? Value[]
        : Known[Name] extends { required: true }
          ? Value
          : Value | undefined
      : never;
};

/** Query parameters by name. */
export type Parameters = Record<string, Parameter<unknown> | ParameterFamily<unknown>>;

/** Longest parameter name in a validation issue, in UTF-16 code units. Longer names are truncated. */
const MAX_NAME_IN_ISSUE = 100;

/**
 * Parses all parameters in a request's query string.
 *
 * @throws {ApiError} `validation_failed` with all issues: parameters that are invalid, missing, unknown or repeated,
 *   a range that ends before it starts, and conflicts
 * @param conflictsOf returns the issues of parameters that are each valid, but not together. Invalid ones are undefined
 */
export function readQuery<Known extends Parameters>(
  request: Request,
  parameters: Known,
  conflictsOf: (values: Values<Known>) => ValidationIssue[] = () => [],
): Values<Known> {
  return readParameters(parseSearchParams(targetOf(request).query), parameters, conflictsOf);
}

/** Parses parameters as {@link readQuery} does, but not from a request. */
export function readParameters<Known extends Parameters>(
  params: URLSearchParams,
  parameters: Known,
  conflictsOf: (values: Values<Known>) => ValidationIssue[] = () => [],
): Values<Known> {
  const issues: ValidationIssue[] = [];
  const addIssueOf: AddIssue = (name, issue) =>
    void issues.push({ loc: ['query', name.slice(0, MAX_NAME_IN_ISSUE)], ...issue });
  const names = [...new Set(params.keys())];
  const read = Object.entries(parameters).map(([name, parameter]) => {
    if ('prefix' in parameter) {
      const found = names.filter((each) => each.startsWith(parameter.prefix));
      return [name, parameter.parseAll(new Map(found.map((each) => [each, params.getAll(each)])), addIssueOf)];
    }
    const addIssue = (issue: Pick<ValidationIssue, 'msg' | 'type'>) => addIssueOf(name, issue);
    const texts = params.getAll(name);
    const { repeated } = parameter;
    if (texts.length === 0 && parameter.required) addIssue({ msg: 'Field required', type: 'missing' });
    else if (repeated && (texts.length < repeated.min || texts.length > repeated.max)) {
      addIssue(valueError(repeated.msg(texts.length)));
    } else if (texts.length > 1 && !repeated) addIssue({ msg: 'Input should be given once', type: 'too_long' });
    const values = texts.slice(0, repeated?.max ?? 1).map((text) => {
      const parsed = parameter.parse(text);
      if ('value' in parsed) return parsed.value;
      return addIssue(parsed);
    });
    return [name, repeated ? values : values[0]];
  });
  const prefixes = Object.values(parameters).flatMap((parameter) => ('prefix' in parameter ? [parameter.prefix] : []));
  for (const name of names) {
    if (Object.hasOwn(parameters, name) || prefixes.some((prefix) => name.startsWith(prefix))) continue;
    addIssueOf(name, { msg: 'Extra inputs are not permitted', type: 'extra_forbidden' });
  }
  // sound because each value comes from the parameter with its name
  const values = Object.fromEntries(read) as Values<Known>;
  if (isReversed(values)) issues.push({ loc: ['query', 'to'], ...valueError('the range ends before it starts') });
  issues.push(...conflictsOf(values));
  if (issues.length > 0) throw new ApiError('validation_failed', { issues: issues.slice(0, MAX_ISSUES) });
  return values;
}

/**
 * Parses a query string.
 *
 * @throws {ApiError} `validation_failed` if it is ambiguous: invalid percent-encoding or UTF-8, which a lenient parser
 *   would replace, or a raw `#`, which other software treats as the end of the query
 */
function parseSearchParams(query: string): URLSearchParams {
  if (query.includes('#') || !isDecodable(query)) {
    const issue = { loc: ['query'], ...valueError('the query string should be percent-encoded UTF-8') };
    throw new ApiError('validation_failed', { issues: [issue] });
  }
  // URLSearchParams drops one leading question mark; any further one belongs to the first name
  return new URLSearchParams(`?${query}`);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function isReversed({ from, to }: { readonly from?: unknown; readonly to?: unknown }): boolean {
  return typeof from === 'number' && typeof to === 'number' && to < from;
}

/** Documents query parameters for OpenAPI. */
export function documentParameters(parameters: Parameters): NonNullable<DocumentDecoration['parameters']> {
  return Object.entries(parameters).map(([name, parameter]) => {
    const { description, schema } = parameter;
    // OpenAPI has no parameter families; an exploded object sends each of its members as a parameter
    const exploded = { style: 'form', explode: true } as const;
    if ('prefix' in parameter) {
      const object = { type: 'object', additionalProperties: schema } as const;
      return { name, in: 'query', required: false, description, schema: object, ...exploded };
    }
    const { required, repeated } = parameter;
    return {
      name,
      in: 'query',
      required: required ?? (repeated?.min ?? 0) > 0,
      description,
      schema: repeated ? { type: 'array', items: schema, minItems: repeated.min, maxItems: repeated.max } : schema,
      ...(repeated && exploded),
    };
  });
}

export const valueError = (msg: string) => ({ msg: `Value error, ${msg}`, type: 'value_error' });

/** Returns a parameter for a time, in microseconds since 1970. */
export const instant = (description: string): Parameter<number> => ({
  description,
  schema: { type: 'string', format: 'date-time', example: '2026-03-01T00:00:00Z' },
  parse(text) {
    // an unencoded plus sign arrives as a space
    const value = parseTimestamp(text.replace(/ (\d\d:\d\d)$/, '+$1'));
    if (value !== undefined) return { value };
    return { msg: 'Input should be a valid datetime with an offset, in RFC 3339', type: 'datetime_parsing' };
  },
});

export const text = (description: string): Parameter<string> => ({
  description,
  schema: { type: 'string' },
  parse: (value) => ({ value }),
});

export const integer = (description: string, min: number, max: number, defaultValue: number): Parameter<number> => ({
  description,
  schema: { type: 'integer', minimum: min, maximum: max, default: defaultValue },
  parse(given) {
    if (!/^-?\d{1,15}$/.test(given)) {
      return { msg: 'Input should be a valid integer, unable to parse string as an integer', type: 'int_parsing' };
    }
    const value = Number(given);
    if (value < min) return { msg: `Input should be greater than or equal to ${min}`, type: 'greater_than_equal' };
    if (value > max) return { msg: `Input should be less than or equal to ${max}`, type: 'less_than_equal' };
    return { value };
  },
});

export const choice = <Value extends string>(description: string, values: readonly Value[]): Parameter<Value> => ({
  description,
  schema: { type: 'string', enum: [...values] },
  parse(given) {
    const value = values.find((allowed) => allowed === given);
    if (value !== undefined) return { value };
    return { msg: `Input should be ${values.map((allowed) => `'${allowed}'`).join(' or ')}`, type: 'enum' };
  },
});

export const flag = (description: string): Parameter<boolean> => ({
  description,
  schema: { type: 'boolean', default: false },
  parse(given) {
    if (given === 'true' || given === 'false') return { value: given === 'true' };
    return { msg: "Input should be 'true' or 'false'", type: 'bool_parsing' };
  },
});
