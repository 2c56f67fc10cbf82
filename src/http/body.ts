import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ApiError } from '../errors.ts';
import { MAX_JSON_DEPTH, parseJson } from '../formats/json.ts';
import type { Reservation } from '../ingest/reservations.ts';
import { GZIP, type HeaderFields, listItems, parseItem } from './header-fields.ts';

const inflate = promisify(gunzip);

/** `application/json`, or a type with that suffix (RFC 6839). */
const JSON_MEDIA_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json$/;

/**
 * A strict decoder: invalid UTF-8 would otherwise be stored as U+FFFD. It drops a leading byte order mark, which some
 * editors write (RFC 8259, section 8.1).
 */
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A JSON body, as text and parsed. */
export interface JsonBody {
  /** Size after decompression. */
  readonly bytes: number;
  readonly text: string;
  readonly value: unknown;
}

/**
 * Size above which a body's memory is reserved chunk by chunk as it arrives. Smaller bodies reserve their full size up
 * front, which avoids reading them as a stream.
 */
export const STREAMED_BYTES = 64 * 1024;

/** A request with a body: the part of `Request` that reads it. */
export interface BodyRequest extends Pick<Request, 'bytes'> {
  readonly headers: HeaderFields;
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** The memory reserved for a body. */
type Memory = Pick<Reservation, 'grow'>;

/** Returns how many bytes to reserve before reading a body. */
export function expectedBytes(headers: HeaderFields): number {
  const length = Number(headers.get('content-length') ?? 0);
  return length <= STREAMED_BYTES ? length : 0;
}

/**
 * Reads and parses a request's body, up to a maximum size. A request without a content type is treated as JSON, as in
 * the original service.
 *
 * @param maxBytes the size limit, both as sent and after decompression
 * @param memory the reservation of {@link expectedBytes}; it grows as the body arrives and is decompressed
 * @throws {ApiError} `overloaded` if the reservation cannot grow; `unsupported_media_type`, `payload_too_large`,
 *   `invalid_json`, or `validation_failed` for JSON that is nested too deeply
 */
export function readJson(request: BodyRequest, maxBytes: number, memory: Memory): Promise<JsonBody> {
  const type = request.headers.get('content-type');
  // skips the parser for the most common value
  if (type !== null && type !== '' && type !== 'application/json' && !JSON_MEDIA_TYPE.test(parseItem(type).value)) {
    throw new ApiError('unsupported_media_type');
  }
  const isGzip = isGzipped(request.headers);

  const sent = readAtMost(request, maxBytes, memory);
  // chained, because an async function would allocate as much again for every request
  if (!isGzip) return sent.then(parse, failReading);
  return sent.then((bytes) => decompress(bytes, maxBytes, memory), failReading).then(parse);
}

/** Handles an error while a body is read: the client disconnected or sent invalid HTTP, which is not an internal error. */
function failReading(error: unknown): never {
  throw error instanceof ApiError ? error : new ApiError('invalid_json', { cause: error });
}

/**
 * Returns whether a body is gzipped.
 *
 * @throws {ApiError} `unsupported_media_type` for any other content coding, and for more than one
 */
function isGzipped(headers: HeaderFields): boolean {
  const field = headers.get('content-encoding');
  if (field === null) return false;
  const codings = listItems(field).filter(({ value }) => value !== 'identity');
  const isGzip = codings.length === 1 && GZIP.includes(codings[0]?.value ?? '');
  if (codings.length > 0 && !isGzip) throw new ApiError('unsupported_media_type');
  return isGzip;
}

/** Reads a body. Not async, because another promise would delay small bodies by a turn of the event loop. */
function readAtMost(request: BodyRequest, maxBytes: number, memory: Memory): Promise<Uint8Array> {
  const length = request.headers.get('content-length');
  if (Number(length ?? 0) > maxBytes) throw new ApiError('payload_too_large');
  if (length === null || Number(length) > STREAMED_BYTES) return readChunks(request, maxBytes, memory);
  return request.bytes();
}

/** Reads a body chunk by chunk and grows its reservation accordingly. */
async function readChunks(request: BodyRequest, maxBytes: number, memory: Memory): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.byteLength;
    if (total > maxBytes) throw new ApiError('payload_too_large');
    if (!memory.grow(chunk.byteLength)) throw new ApiError('overloaded');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Settles once all queued decompressions are done. */
let inflating: Promise<unknown> = Promise.resolve();

/** Decompresses a body after all earlier ones, so that decompression bombs occupy at most one thread. */
function inflateInTurn(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const inflated = inflating.then(() => inflate(bytes, { maxOutputLength: maxBytes }));
  inflating = inflated.catch(() => {}); // reported to the request that sent the body
  return inflated;
}

async function decompress(bytes: Uint8Array, maxBytes: number, memory: Memory): Promise<Uint8Array> {
  let inflated: Uint8Array;
  try {
    inflated = await inflateInTurn(bytes, maxBytes);
  } catch (error) {
    const isTooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new ApiError(isTooLarge ? 'payload_too_large' : 'invalid_json', { cause: error });
  }
  // what was sent is not needed any more, so a body of any size that the limits allow fits into the memory of its user
  if (!memory.grow(Math.max(0, inflated.byteLength - bytes.byteLength))) throw new ApiError('overloaded');
  return inflated;
}

function parse(bytes: Uint8Array): JsonBody {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new ApiError('invalid_json');
  }
  try {
    return { bytes: bytes.byteLength, text, value: parseJson(text) };
  } catch (error) {
    // parseJson's depth limit, or a stack overflow in JSON.parse itself
    if (error instanceof RangeError) {
      const msg = `Input should not be nested deeper than ${MAX_JSON_DEPTH} levels`;
      throw new ApiError('validation_failed', {
        issues: [{ loc: ['body'], msg, type: 'recursion_limit' }],
        cause: error,
      });
    }
    // no cause: the parser's error message quotes the body
    throw new ApiError('invalid_json');
  }
}
