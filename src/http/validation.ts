import type { Static, TSchema } from '@sinclair/typebox';
import type { TypeCheck } from '@sinclair/typebox/compiler';
import { type ValueErrorIterator, ValueErrorType } from '@sinclair/typebox/errors';
import { ApiError, type ValidationIssue } from '../errors.ts';
import { MAX_USER_ID_LENGTH } from '../records.ts';

/** Most validation issues of one response: more are of no use to anyone. */
export const MAX_ISSUES = 64;

/** What is wrong with a text that cannot be a user ID. */
export const USER_ID_ISSUE: Pick<ValidationIssue, 'msg' | 'type'> = {
  msg: `String should have 1 to ${MAX_USER_ID_LENGTH} characters and no control characters`,
  type: 'string_pattern_mismatch',
};

/**
 * Checks a part of a request against its schema.
 *
 * @param part the first element of each fault's `loc`
 * @returns the same value
 * @throws {ApiError} `validation_failed` with a fault for each value that is wrong
 */
export function validate<Schema extends TSchema>(
  part: string,
  check: TypeCheck<Schema>,
  value: unknown,
): Static<Schema> {
  if (check.Check(value)) return value;
  throw new ApiError('validation_failed', { issues: issuesOf(part, check.Errors(value), describe) });
}

/** As {@link validate}, for a body whose numbers may be sent as texts. */
export function validateLax<Schema extends TSchema>(check: TypeCheck<Schema>, value: unknown): Static<Schema> {
  if (check.Check(value)) return value;
  const describeLax: Describe = (error) =>
    error.type === ValueErrorType.Number && typeof error.value === 'string' ? FLOAT_PARSING : describe(error);
  throw new ApiError('validation_failed', { issues: issuesOf('body', check.Errors(value), describeLax) });
}

const FLOAT_PARSING = {
  msg: 'Input should be a valid number, unable to parse string as a number',
  type: 'float_parsing',
};

/** What is wrong with the number of a batch's items, in pydantic's words for lists. */
export function batchSizeIssues(items: number, most: number): ValidationIssue[] {
  if (items < 1) {
    return [{ loc: ['body'], msg: 'List should have at least 1 item after validation, not 0', type: 'too_short' }];
  }
  if (items > most) {
    const msg = `List should have at most ${count(most, 'item')} after validation, not ${items}`;
    return [{ loc: ['body'], msg, type: 'too_long' }];
  }
  return [];
}

/**
 * Translates TypeBox's errors into FastAPI's (pydantic's) words: one fault for each value that is
 * wrong, without the value itself.
 */
function issuesOf(part: string, errors: ValueErrorIterator, describe: Describe): ValidationIssue[] {
  const issues = new Map<string, ValidationIssue>();
  for (const error of errors) {
    if (issues.has(error.path)) continue; // TypeBox goes on about the same value
    issues.set(error.path, { loc: [part, ...pathOf(error.path)], ...describe(error) });
    if (issues.size === MAX_ISSUES) break;
  }
  return [...issues.values()];
}

/** A JSON pointer (RFC 6901) as property names and list positions. */
function pathOf(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~')));
}

type ValueError = NonNullable<ReturnType<ValueErrorIterator['First']>>;
type Describe = (error: ValueError) => Pick<ValidationIssue, 'msg' | 'type'>;

/** https://docs.pydantic.dev/latest/errors/validation_errors/ lists the types and their messages. */
function describe({ type, path, schema, value }: ValueError): Pick<ValidationIssue, 'msg' | 'type'> {
  switch (type) {
    case ValueErrorType.ObjectRequiredProperty:
      return { msg: 'Field required', type: 'missing' };
    case ValueErrorType.String:
      return { msg: 'Input should be a valid string', type: 'string_type' };
    case ValueErrorType.StringMinLength:
      return {
        msg: `String should have at least ${count(schema['minLength'], 'character')}`,
        type: 'string_too_short',
      };
    case ValueErrorType.StringMaxLength:
      return { msg: `String should have at most ${count(schema['maxLength'], 'character')}`, type: 'string_too_long' };
    case ValueErrorType.StringFormat:
      if (schema['format'] === 'user-id') return USER_ID_ISSUE;
      return schema['format'] === 'date-time'
        ? { msg: 'Input should be a valid datetime with an offset, in RFC 3339', type: 'datetime_parsing' }
        : {
            msg: 'Input should be a valid string, unable to parse raw data as a unicode string',
            type: 'string_unicode',
          };
    case ValueErrorType.Number:
      return typeof value === 'number'
        ? { msg: 'Input should be a finite number', type: 'finite_number' }
        : { msg: 'Input should be a valid number', type: 'float_type' };
    case ValueErrorType.Array:
      return { msg: 'Input should be a valid list', type: 'list_type' };
    case ValueErrorType.Object:
      // FastAPI takes a body of null for none
      if (path === '' && value === null) return { msg: 'Field required', type: 'missing' };
      return path === '' || /^\/(metrics|analytics)\/\d+$/.test(path)
        ? {
            msg: 'Input should be a valid dictionary or object to extract fields from',
            type: 'model_attributes_type',
          }
        : { msg: 'Input should be a valid dictionary', type: 'dict_type' };
    default:
      return { msg: 'Input should be valid', type: 'value_error' };
  }
}

function count(number: unknown, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
