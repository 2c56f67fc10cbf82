import postgres from 'postgres';
import { rootCause } from '../../system-error.ts';
import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';

/*
 * What errors of PostgreSQL mean. They are classified by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html),
 * because messages are translated and contain values.
 */

/** Texts for single SQLSTATEs, and for classes (their first two characters). */
const TEXTS: Readonly<Record<string, string>> = {
  '08': 'the connection failed',
  '22': 'a value is not accepted',
  '22003': 'a number is out of range',
  '22021': 'a text contains a character that PostgreSQL cannot store, such as U+0000',
  '22P02': 'a value is not accepted, such as JSON with a lone surrogate',
  '22P05': 'a text contains a character that PostgreSQL cannot store, such as U+0000',
  '23': 'a constraint is violated',
  '23502': 'a column does not accept NULL',
  '23503': 'a foreign key is violated',
  '23505': 'a unique constraint is violated',
  '23514': 'a check constraint is violated',
  '25006': 'the database is read-only',
  '28': 'the user or the password is not accepted',
  '3D000': 'the database does not exist',
  '3F000': 'the schema does not exist',
  '40': 'the transaction was rolled back',
  '42501': 'the user lacks a privilege',
  '53': 'the server has too few resources',
  '53100': 'the disk of the server is full',
  '53200': 'the server is out of memory',
  '53300': 'the server has too many connections',
  '54': 'a row exceeds a limit of PostgreSQL, such as the size of an index entry or the depth of JSON',
  '55P03': 'a lock was not available in time',
  '57014': 'a statement took too long',
  '57P03': 'the server is starting or stopping',
  '57': 'the server ended the connection',
  P0001: 'a trigger rejected the row',
};
/** SQLSTATEs and classes of errors that lie in the rows: they fail again however often they are sent. */
const DATA_ERRORS: readonly string[] = ['22', '23', '54', 'P0001'];
/** SQLSTATEs and classes of errors that the operator has to remedy. */
const CONFIGURATION_ERRORS: readonly string[] = ['28', '3D', '3F', '42'];

/** Returns the SQLSTATE of an error that the server reported; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause = rootCause(error);
  return cause instanceof postgres.PostgresError ? cause.code : undefined;
}

/** Returns whether an error lies in the rows of a statement, so that a part of them may be accepted. */
export function isDataError(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && DATA_ERRORS.some((start) => state.startsWith(start));
}

/** Returns whether a connection can be used again after an error: the server has reported it and rolled back. */
export function isConnectionUsable(error: unknown): boolean {
  const cause = rootCause(error);
  return cause instanceof postgres.PostgresError && cause.severity === 'ERROR';
}

/** Describes an error without values of rows and without credentials, for the dead-letter list and for messages. */
export function describeError(error: unknown): string {
  const cause = rootCause(error);
  const state = sqlStateOf(cause);
  if (state === undefined) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    return /^[A-Z][A-Z0-9_]+$/.test(code) ? `the connection failed: ${code}` : 'the connection failed';
  }
  const text = TEXTS[state] ?? TEXTS[state.slice(0, 2)] ?? 'the statement failed';
  const constraint = cause instanceof postgres.PostgresError ? cause.constraint_name : undefined;
  return `${text} (${constraint ? `${constraint}, ` : ''}SQLSTATE ${state})`;
}

/** Returns an error to throw in place of one of a statement, whose message would contain its parameters. */
export function publicError(error: unknown): Error {
  if (error instanceof SinkConfigurationError || error instanceof SinkUnavailableError) return error;
  const message = `PostgreSQL: ${describeError(error)}`;
  const state = sqlStateOf(error);
  const isConfiguration = state !== undefined && CONFIGURATION_ERRORS.some((start) => state.startsWith(start));
  return isConfiguration ? new SinkConfigurationError(message) : new SinkUnavailableError(message);
}
