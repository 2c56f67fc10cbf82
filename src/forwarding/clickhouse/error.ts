import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';

/*
 * The errors of ClickHouse. Only their codes are used: the text of the server can contain values of rows and statements.
 */

/** Errors about the values of a row, which the same row causes again. */
const DATA_ERRORS: ReadonlyMap<number, string> = new Map([
  [6, 'CANNOT_PARSE_TEXT'],
  [27, 'CANNOT_PARSE_INPUT_ASSERTION_FAILED'],
  [38, 'CANNOT_PARSE_DATE'],
  [41, 'CANNOT_PARSE_DATETIME'],
  [53, 'TYPE_MISMATCH'],
  [69, 'ARGUMENT_OUT_OF_BOUND'],
  [70, 'CANNOT_CONVERT_TYPE'],
  [72, 'CANNOT_PARSE_NUMBER'],
  [117, 'INCORRECT_DATA'],
  [131, 'TOO_LARGE_STRING_SIZE'],
  [153, 'ILLEGAL_DIVISION'],
  [321, 'VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE'],
  [349, 'CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN'],
  [395, 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
  [407, 'DECIMAL_OVERFLOW'],
  [467, 'CANNOT_PARSE_BOOL'],
  [469, 'VIOLATED_CONSTRAINT'],
  [691, 'UNKNOWN_ELEMENT_OF_ENUM'],
]);

/** Errors that last until the operator changes something, with what to change. */
const CONFIGURATION_ERRORS: ReadonlyMap<number, string> = new Map([
  [139, 'ClickHouse lacks a setting of the cluster, such as the macros {shard} and {replica} (139).'],
  [164, 'The ClickHouse account is read-only (164). Use one that may write.'],
  [170, 'ClickHouse does not know the cluster (170). Correct its name in the URL.'],
  [192, 'ClickHouse does not know the user (192). Correct the URL.'],
  [193, 'ClickHouse rejects the password (193). Correct the URL.'],
  [194, 'The ClickHouse account needs a password (194). Add it to the URL.'],
  [195, 'The ClickHouse account may not be used from this address (195).'],
  [225, 'ClickHouse has no ZooKeeper or Keeper, which replicated tables need (225).'],
  [291, 'The ClickHouse account may not use the database (291).'],
  [
    497,
    'The ClickHouse account lacks a privilege (497). It needs SELECT, INSERT, ALTER DELETE and CREATE on the database.',
  ],
  [516, 'ClickHouse rejects the user or the password (516). Correct the URL.'],
  [701, 'ClickHouse does not know the cluster (701). Correct its name in the URL.'],
]);

/** Errors that pass: the engine is down, slow, full or read-only, or keeps too many parts. For log lines only. */
const TRANSIENT_ERRORS: ReadonlyMap<number, string> = new Map([
  [60, 'UNKNOWN_TABLE'],
  [81, 'UNKNOWN_DATABASE'],
  [159, 'TIMEOUT_EXCEEDED'],
  [202, 'TOO_MANY_SIMULTANEOUS_QUERIES'],
  [209, 'SOCKET_TIMEOUT'],
  [210, 'NETWORK_ERROR'],
  [241, 'MEMORY_LIMIT_EXCEEDED'],
  [242, 'TABLE_IS_READ_ONLY'],
  [243, 'NOT_ENOUGH_SPACE'],
  [252, 'TOO_MANY_PARTS'],
  [279, 'ALL_CONNECTION_TRIES_FAILED'],
  [319, 'UNKNOWN_STATUS_OF_INSERT'],
  [999, 'KEEPER_EXCEPTION'],
]);

/** A statement that ClickHouse did not execute. The message contains no value. */
export class ClickHouseError extends SinkUnavailableError {
  /** https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp */
  readonly code: number;

  constructor(code: number) {
    const name = DATA_ERRORS.get(code) ?? TRANSIENT_ERRORS.get(code);
    super(`ClickHouse error ${code}${name === undefined ? '' : ` (${name})`}`);
    this.code = code;
  }
}

/** The code of a distributed statement that some nodes have not executed in time. */
export const TIMEOUT_EXCEEDED = 159;

/** Returns the error of a code. */
export function errorOfCode(code: number): Error {
  const text = CONFIGURATION_ERRORS.get(code);
  return text === undefined ? new ClickHouseError(code) : new SinkConfigurationError(text);
}

/** Returns whether the rows of a statement cause its error, so that it would fail again. */
export function isDataError(error: unknown): error is ClickHouseError {
  return error instanceof ClickHouseError && DATA_ERRORS.has(error.code);
}
