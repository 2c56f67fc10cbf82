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
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
