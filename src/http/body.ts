import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Failure } from '../errors.ts';
import { MAX_JSON_DEPTH, parseJson } from '../formats/json.ts';

const inflate = promisify(gunzip);

/** `application/json`, with parameters or a suffix (RFC 6839), in any letter case. */
const JSON_MEDIA_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json *(?:;|$)/i;

/**
 * Strict: bytes that are no UTF-8 would otherwise turn into U+FFFD, and be stored so. A byte order mark
 * before the text, which some editors write, is dropped (RFC 8259, section 8.1).
 */
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A body as text and as what the text says. */
export interface JsonBody {
  readonly text: string;
  readonly value: unknown;
}

/**
 * Reads a request's body, never more of it than allowed, and parses it. A request that names no
 * content type is taken to be JSON, as the service did that rawlog replaces.
 *
 * @param maxBytes the largest body, as sent and after decompression
 * @throws {Failure} `unsupported_media_type`, `payload_too_large`, `invalid_json`, or
 *   `validation_failed` for nesting that is too deep
 */
export async function readJson(request: Request, maxBytes: number): Promise<JsonBody> {
  const type = request.headers.get('content-type');
  if (type !== null && type !== '' && !JSON_MEDIA_TYPE.test(type)) throw new Failure('unsupported_media_type');
  const encoding = (request.headers.get('content-encoding') ?? 'identity').trim().toLowerCase();
  if (encoding !== 'identity' && encoding !== 'gzip') throw new Failure('unsupported_media_type');

  let bytes: Uint8Array;
  try {
    bytes = await readAtMost(request, maxBytes);
  } catch (error) {
    // the sender went away, or sent what is no HTTP: nobody's fault here
    throw error instanceof Failure ? error : new Failure('invalid_json', { cause: error });
  }
  return parse(encoding === 'gzip' ? await decompress(bytes, maxBytes) : bytes);
}

/** Not async itself: the usual body is one promise away, and each further one costs a turn. */
function readAtMost(request: Request, maxBytes: number): Promise<Uint8Array> {
  const length = request.headers.get('content-length');
  if (length === null) return readChunks(request, maxBytes);
  if (Number(length) > maxBytes) throw new Failure('payload_too_large');
  return request.bytes();
}

/** Reads a body that is sent in chunks, with no word on how many: counted as they come. */
async function readChunks(request: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.byteLength;
    if (total > maxBytes) throw new Failure('payload_too_large');
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

async function decompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  try {
    return await inflateInTurn(bytes, maxBytes);
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new Failure(tooLarge ? 'payload_too_large' : 'invalid_json', { cause: error });
  }
}

function parse(bytes: Uint8Array): JsonBody {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new Failure('invalid_json');
  }
  try {
    return { text, value: parseJson(text) };
  } catch (error) {
    // the depth that parseJson bounds, or one at which JSON.parse itself runs out of stack
    if (error instanceof RangeError) {
      const msg = `Input should not be nested deeper than ${MAX_JSON_DEPTH} levels`;
      throw new Failure('validation_failed', {
        faults: [{ loc: ['body'], msg, type: 'recursion_limit' }],
        cause: error,
      });
    }
    // without the parser's error as cause: it quotes the body
    throw new Failure('invalid_json');
  }
}
