import { FULL_PIPE_WAIT, writeToStandardOutput } from '../durable-file.ts';
import { openSink, type Sink } from '../sink.ts';

/*
 * What commands print. Bun's console drops output that cannot be written without an error, so that a script would take
 * half of a token for a whole one.
 */

/** How long a command waits at its end for a reader of its messages, in milliseconds. */
const MESSAGES_TIMEOUT = 1_000;

/** Standard error. A command without messages does not open it. */
let messages: Sink | undefined;

/**
 * Prints a line on standard output: what the command was asked for.
 *
 * @throws {Error} when it cannot be written, except when the reader has gone away: that is its own business
 */
export function print(line: string): void {
  printText(`${line}\n`);
}

/** Prints a text on standard output, as {@link print}. */
export function printText(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    const written = writeToStandardOutput(bytes, at);
    if (written === undefined) return;
    at += written;
    if (written === 0) Bun.sleepSync(FULL_PIPE_WAIT);
  }
}

/** Prints a line on standard error: what a person should know. Never blocks or throws. */
export function report(line: string): void {
  reportText(`${line}\n`);
}

/** Prints a text on standard error, as {@link tell}. */
export function reportText(text: string): void {
  messages ??= openSink(2);
  messages.write(text);
}

/** Waits until all messages are written, for a second at most. */
export async function flushMessages(): Promise<void> {
  await messages?.flush(MESSAGES_TIMEOUT);
}
