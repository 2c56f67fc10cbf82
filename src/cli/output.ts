import { isatty } from 'node:tty';
import { FULL_PIPE_RETRY_MS, writeToStandardOutput } from '../durable-file.ts';
import { escapeControlsInCrlfLines, escapeControlsInLines } from '../formats/visible-text.ts';
import { openSink, type Sink } from '../sink.ts';

/*
 * The output of commands. Bun's console silently drops output that cannot be written, so a script could mistake half a
 * token for a whole one.
 *
 * Control characters in recorded texts must not reach a terminal. Everything that is printed here is escaped, except for
 * line feeds. Where a line feed in a text could pass for a new line of output, the command escapes it too, with
 * `escapeControls`.
 */

/** The file descriptor of standard output. */
const STDOUT = 1;

/** How long an exiting command waits for its messages to be written. */
const FLUSH_TIMEOUT_MS = 1_000;

/** Standard error, opened with the first message. */
let messages: Sink | undefined;

/**
 * Prints a result line to standard output.
 *
 * @throws {Error} if it cannot be written; a reader that has closed the pipe is not an error
 */
export function print(line: string): void {
  printText(`${line}\n`);
}

/** Prints text to standard output. Like {@link print}, but adds no newline. */
export function printText(text: string): void {
  write(escapeControlsInLines(text));
}

/** Prints the content of a file, such as a script, to standard output: byte by byte, unless that is a terminal. */
export function printFile(text: string): void {
  write(isTerminal() ? escapeControlsInLines(text) : text);
}

/** Returns whether standard output is a terminal. */
export function isTerminal(): boolean {
  return isatty(STDOUT);
}

/** Escapes an export in a text format for a terminal. NDJSON stays valid; CSV shows the escapes as text. */
export function* escapeExport(content: Iterable<Uint8Array>): Generator<Uint8Array> {
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let lineEnd = '';
  for (const bytes of content) {
    const text = lineEnd + decoder.decode(bytes, { stream: true });
    lineEnd = text.endsWith('\r') ? '\r' : ''; // whether it is one depends on the next bytes
    yield encoder.encode(escapeControlsInCrlfLines(text.slice(0, text.length - lineEnd.length)));
  }
  yield encoder.encode(escapeControlsInCrlfLines(lineEnd + decoder.decode()));
}

function write(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    const written = writeToStandardOutput(bytes, at);
    if (written === undefined) return;
    at += written;
    if (written === 0) Bun.sleepSync(FULL_PIPE_RETRY_MS);
  }
}

/** Returns a count with its noun, such as "1 record" or "2 records". */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Prints a message for the operator to standard error. Never blocks or throws. */
export function report(line: string): void {
  reportText(`${line}\n`);
}

/** Prints text to standard error. Like {@link report}, but adds no newline. */
export function reportText(text: string): void {
  messages ??= openSink(2);
  messages.write(escapeControlsInLines(text));
}

/** Waits until all messages are written, or until {@link FLUSH_TIMEOUT_MS} has passed. */
export async function flushMessages(): Promise<void> {
  await messages?.flush(FLUSH_TIMEOUT_MS);
}
