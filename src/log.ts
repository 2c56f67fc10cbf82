import pino, { type Logger } from 'pino';
import type { LogLevel } from './config.ts';

/**
 * The log: one JSON object a line, on standard error, so that standard output stays the program's own.
 * Written synchronously: a line about a crash is out before the crash.
 */
export function createLog(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/**
 * An error by its own words alone. Libraries hang more on theirs (jose the claims of a token, fetch its
 * address), which must not get into the log.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? error.code : undefined;
  return { type: name, message, code, stack, ...(cause !== undefined && { cause: describeError(cause) }) };
}
