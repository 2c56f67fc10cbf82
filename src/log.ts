import pino, { type Logger } from 'pino';
import type { LogLevel } from './settings.ts';
import { openSink, type Sink } from './sink.ts';

/** How many causes of an error are logged: a chain may lead back to itself. */
const MAX_CAUSES = 10;

/**
 * The log: one JSON object per line, on standard error, so that standard output stays the program's own. Logging never
 * blocks or throws, because log calls stand in the middle of state changes. Lines that a slow reader has no room for
 * are dropped, and their number is logged once there is room again.
 */
export function createLog(level: LogLevel, sink: Sink = openSink(2)): Logger {
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(args, method) {
          try {
            method.apply(this, args);
          } catch {
            // a value that cannot be serialized costs its line
          }
        },
      },
    },
    sink,
  );
  sink.onRecovered((dropped) => log.warn({ dropped }, 'log lines were dropped: standard error was not read in time'));
  return log;
}

/**
 * An error by its own words alone. Libraries hang more on theirs (jose the claims of a token, fetch its
 * address), which must not get into the log.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? error.code : undefined;
  const hasCause = cause !== undefined && depth < MAX_CAUSES;
  return { type: name, message, code, stack, ...(hasCause && { cause: describeError(cause, depth + 1) }) };
}
