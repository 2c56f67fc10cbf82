import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ApiError } from '../errors.ts';
import { MAX_JSON_DEPTH, parseJson } from '../formats/json.ts';
import type { Reservation } from '../ingest/reservations.ts';
import { GZIP, listItems, parseItem } from './header-fields.ts';

const inflate = promisify(gunzip);

/** `application/json`, or a type with that suffix (RFC 6839). */
const JSON_MEDIA_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json$/;

/**
 * Strict: bytes that are no UTF-8 would otherwise turn into U+FFFD, and be stored so. A byte order mark
 * before the text, which some editors write, is dropped (RFC 8259, section 8.1).
 */
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A body as text and as what the text says. */
export interface JsonBody {
  /** Its size after decompression. */
  readonly bytes: number;
  readonly text: string;
  readonly value: unknown;
}

/**
 * Larger bodies are counted as they arrive. Of smaller ones the whole is set aside at once, which saves the stream.
 */
export const STREAMED_BYTES = 64 * 1024;

/** Memory for a body: see Reservation. */
type Memory = Pick<Reservation, 'grow'>;

/** Returns how many bytes to set aside before a body is read. */
export function expectedBytes(headers: Headers): number {
  const length = Number(headers.get('content-length') ?? 0);
  return length <= STREAMED_BYTES ? length : 0;
}

/**
 * Reads a request's body, never more of it than allowed, and parses it. A request that names no
 * content type is taken to be JSON, as the service did that rawlog replaces.
 *
 * @param maxBytes the largest body, as sent and after decompression
 * @param memory what {@link expectedBytes} said is set aside; it grows with what arrives and with what is inflated
 * @throws {ApiError} `overloaded` if the memory cannot grow; `unsupported_media_type`, `payload_too_large`, `invalid_json`, or
 *   `validation_failed` for nesting that is too deep
 */
export async function readJson(request: Request, maxBytes: number, memory: Memory): Promise<JsonBody> {
  const type = request.headers.get('content-type');
  // the common type needs no parser
  if (type !== null && type !== '' && type !== 'application/json' && !JSON_MEDIA_TYPE.test(parseItem(type).value)) {
    throw new ApiError('unsupported_media_type');
  }
  const isGzip = isGzipped(request.headers);

  let bytes: Uint8Array;
  try {
    bytes = await readAtMost(request, maxBytes, memory);
  } catch (error) {
    // the sender went away, or sent what is no HTTP: nobody's fault here
    throw error instanceof ApiError ? error : new ApiError('invalid_json', { cause: error });
  }
  return parse(isGzip ? await decompress(bytes, maxBytes, memory) : bytes);
}

/**
 * Returns whether a body is compressed.
 *
 * @throws {ApiError} `unsupported_media_type` for other codings, and for several
 */
function isGzipped(headers: Headers): boolean {
  const field = headers.get('content-encoding');
  if (field === null) return false;
  const codings = listItems(field).filter(({ value }) => value !== 'identity');
  const isGzip = codings.length === 1 && GZIP.includes(codings[0]?.value ?? '');
  if (codings.length > 0 && !isGzip) throw new ApiError('unsupported_media_type');
  return isGzip;
}

/** Not async itself: the usual body is one promise away, and each further one costs a turn. */
function readAtMost(request: Request, maxBytes: number, memory: Memory): Promise<Uint8Array> {
  const length = request.headers.get('content-length');
  if (Number(length ?? 0) > maxBytes) throw new ApiError('payload_too_large');
  if (length === null || Number(length) > STREAMED_BYTES) return readChunks(request, maxBytes, memory);
  return request.bytes();
}

/** Reads a body chunk by chunk, and counts what has arrived. */
async function readChunks(request: Request, maxBytes: number, memory: Memory): Promise<Uint8Array> {
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

/** The inflation under way, and those that wait behind it. */
let inflating: Promise<unknown> = Promise.resolve();

/** Inflates one body at a time: bombs take one thread's time, and not that of all others as well. */
function inflateInTurn(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const inflated = inflating.then(() => inflate(bytes, { maxOutputLength: maxBytes }));
  inflating = inflated.catch(() => {}); // said to its own request
  return inflated;
}

async function decompress(bytes: Uint8Array, maxBytes: number, memory: Memory): Promise<Uint8Array> {
  let inflated: Uint8Array;
  try {
    inflated = await inflateInTurn(bytes, maxBytes);
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new ApiError(tooLarge ? 'payload_too_large' : 'invalid_json', { cause: error });
  }
  if (!memory.grow(inflated.byteLength)) throw new ApiError('overloaded');
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
    // the depth that parseJson bounds, or one at which JSON.parse itself runs out of stack
    if (error instanceof RangeError) {
      const msg = `Input should not be nested deeper than ${MAX_JSON_DEPTH} levels`;
      throw new ApiError('validation_failed', {
        issues: [{ loc: ['body'], msg, type: 'recursion_limit' }],
        cause: error,
      });
    }
    // without the parser's error as cause: it quotes the body
    throw new ApiError('invalid_json');
  }
}
