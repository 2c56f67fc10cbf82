import { readSync } from 'node:fs';

/** Bytes read at once. */
const PIECE_BYTES = 1024 ** 2;
const NEWLINE = 0x0a;

/** A line of a file; its text is undefined when it is too long or not UTF-8. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string | undefined;
  readonly isTooLong: boolean;
  /** How many bytes of the file have been read so far, in pieces. */
  readonly bytesRead: number;
}

/**
 * Reads the lines of a file from its start. Only `\n` ends a line: texts may contain U+2028 and the like. Memory
 * is bounded by the longest line that is accepted.
 *
 * @param maxBytes the longest line, in bytes
 * @param end where to stop, in bytes
 */
export function* readLines(handle: number, maxBytes: number, end: number): Generator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  let position = 0;
  let number = 0;
  /** The start of a line that earlier pieces have; empty when it is too long. */
  let begun: Buffer[] = [];
  let begunBytes = 0;

  const finish = (rest: Buffer): Line => {
    const isTooLong = begunBytes + rest.length > maxBytes;
    const line = { number: ++number, isTooLong, bytesRead: position };
    const bytes = begun.length > 0 ? Buffer.concat([...begun, rest]) : rest;
    begun = [];
    begunBytes = 0;
    return { ...line, text: isTooLong ? undefined : decode(decoder, bytes) };
  };

  while (position < end) {
    const read = readSync(handle, piece, 0, Math.min(PIECE_BYTES, end - position), position);
    if (read === 0) break;
    position += read;
    let start = 0;
    for (let at = piece.indexOf(NEWLINE); at !== -1 && at < read; at = piece.indexOf(NEWLINE, start)) {
      yield finish(piece.subarray(start, at));
      start = at + 1;
    }
    begunBytes += read - start;
    if (begunBytes > maxBytes) begun = [];
    else begun.push(Buffer.from(piece.subarray(start, read)));
  }
  if (begunBytes > 0) yield finish(Buffer.alloc(0));
}

function decode(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
