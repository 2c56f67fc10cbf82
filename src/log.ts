import pino, { type Logger } from 'pino';
import { escapeControlsInLines } from './formats/visible-text.ts';
import type { LogLevel } from './settings.ts';
import { openSink, type Sink } from './sink.ts';

/** Maximum number of logged causes of an error, because a chain of causes may be circular. */
const MAX_CAUSES = 10;

/**
 * Creates the log: one JSON object per line, on standard error, because standard output is for the program's results.
 * Logging never blocks or throws, because code logs in the middle of state changes. If standard error cannot keep
 * up, lines are dropped; their number is logged once writing succeeds again. Logged texts contain no control characters.
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
            // drop the line if a value cannot be serialized
          }
        },
      },
    },
    { write: (line) => sink.write(escapeControlsInLines(line)) },
  );
  sink.onRecovered((dropped) =>
    log.warn({ dropped }, 'log lines were dropped: standard error could not be written fast enough'),
  );
  return log;
}

/**
 * Serializes only the standard properties of an error. Libraries add others (jose the claims of a token, fetch the URL)
 * that must not be logged.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? error.code : undefined;
  const hasCause = cause !== undefined && depth < MAX_CAUSES;
  return { type: name, message, code, stack, ...(hasCause && { cause: describeError(cause, depth + 1) }) };
}
