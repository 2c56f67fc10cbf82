import type { Static, TSchema } from '@sinclair/typebox';
import type { TypeCheck } from '@sinclair/typebox/compiler';
import { type ValueErrorIterator, ValueErrorType } from '@sinclair/typebox/errors';
import { ApiError, type ValidationIssue } from '../errors.ts';
import { MAX_USER_ID_LENGTH } from '../records.ts';

/** Maximum number of validation issues per response. */
export const MAX_ISSUES = 64;

/** The validation issue for an invalid user ID. */
export const USER_ID_ISSUE: Pick<ValidationIssue, 'msg' | 'type'> = {
  msg: `String should have 1 to ${MAX_USER_ID_LENGTH} characters and no control characters`,
  type: 'string_pattern_mismatch',
};

/**
 * Validates a part of a request against its schema and returns the same value.
 *
 * @param part the first element of each issue's `loc`
 * @throws {ApiError} `validation_failed` with an issue for each invalid value
 */
export function validate<Schema extends TSchema>(
  part: string,
  check: TypeCheck<Schema>,
  value: unknown,
): Static<Schema> {
  if (check.Check(value)) return value;
  throw new ApiError('validation_failed', { issues: issuesOf(part, check.Errors(value), describe) });
}

/** Validates a body like {@link validate}, but reports a string that is not a number as pydantic's `float_parsing`. */
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

/** Returns the validation issues of a batch's size, in pydantic's wording for lists. */
export function batchSizeIssues(items: number, maxItems: number): ValidationIssue[] {
  if (items < 1) {
    return [{ loc: ['body'], msg: 'List should have at least 1 item after validation, not 0', type: 'too_short' }];
  }
  if (items > maxItems) {
    const msg = `List should have at most ${count(maxItems, 'item')} after validation, not ${items}`;
    return [{ loc: ['body'], msg, type: 'too_long' }];
  }
  return [];
}

/**
 * Translates TypeBox's errors into the wording of FastAPI (pydantic): one issue per invalid value, without the value
 * itself.
 */
function issuesOf(part: string, errors: ValueErrorIterator, describe: Describe): ValidationIssue[] {
  const issues = new Map<string, ValidationIssue>();
  for (const error of errors) {
    if (issues.has(error.path)) continue; // TypeBox reports several errors for the same value
    issues.set(error.path, { loc: [part, ...pathOf(error.path)], ...describe(error) });
    if (issues.size === MAX_ISSUES) break;
  }
  return [...issues.values()];
}

/** Splits a JSON pointer (RFC 6901) into property names and list indexes. */
function pathOf(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~')));
}

type ValueError = NonNullable<ReturnType<ValueErrorIterator['First']>>;
type Describe = (error: ValueError) => Pick<ValidationIssue, 'msg' | 'type'>;

/** Returns pydantic's message and type for an error (https://docs.pydantic.dev/latest/errors/validation_errors/). */
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
      // FastAPI treats a null body as missing
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
