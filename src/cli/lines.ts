import { readSync } from 'node:fs';

/** Size of a read. */
const CHUNK_BYTES = 1024 ** 2;
const NEWLINE = 0x0a;

/** A line of a file. Its text is undefined if it is too long or not UTF-8. */
export interface Line {
  /** Counted from 1. */
  readonly number: number;
  readonly text: string | undefined;
  readonly isTooLong: boolean;
  /** Bytes of the file read so far, in whole chunks. */
  readonly bytesRead: number;
}

/**
 * Reads the lines of a file from its start. Only `\n` ends a line, because text may contain U+2028 and other
 * separators. Memory use is bounded by the maximum line length.
 *
 * @param maxBytes maximum line length
 * @param end the offset to stop at, in bytes
 */
export function* readLines(handle: number, maxBytes: number, end: number): Generator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let position = 0;
  let number = 0;
  /** The start of the current line, from earlier chunks; empty if the line is too long. */
  let partial: Buffer[] = [];
  let partialBytes = 0;

  const finishLine = (lastPart: Buffer): Line => {
    const isTooLong = partialBytes + lastPart.length > maxBytes;
    const line = { number: ++number, isTooLong, bytesRead: position };
    const bytes = partial.length > 0 ? Buffer.concat([...partial, lastPart]) : lastPart;
    partial = [];
    partialBytes = 0;
    return { ...line, text: isTooLong ? undefined : decode(decoder, bytes) };
  };

  while (position < end) {
    const read = readSync(handle, chunk, 0, Math.min(CHUNK_BYTES, end - position), position);
    if (read === 0) break;
    position += read;
    let start = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1 && at < read; at = chunk.indexOf(NEWLINE, start)) {
      yield finishLine(chunk.subarray(start, at));
      start = at + 1;
    }
    partialBytes += read - start;
    if (partialBytes > maxBytes) partial = [];
    else partial.push(Buffer.from(chunk.subarray(start, read)));
  }
  if (partialBytes > 0) yield finishLine(Buffer.alloc(0));
}

function decode(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
