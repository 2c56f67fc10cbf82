import type { S3Client } from 'bun';
import { type ObjectAction, ObjectChangedError, ObjectStoreError } from './object-store-error.ts';

/*
 * Changes of objects that several servers may change: each names the version that was read, and the service rejects it if
 * the object has another one by then. Bun's S3 client cannot send conditions, so it signs URLs, and the requests are sent
 * here. Only the host and headers that begin with x-amz- must be signed
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html). A signed URL allows its request to anyone,
 * so it is in no error.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and conditional-deletes.html describe what
 * S3 does: 412 if the version is another one; 404 if there is none; 409 if the object is just being changed.
 */

/** Bytes read with one request. The next ones are requested meanwhile. */
const READ_BYTES = 4 * 1024 ** 2;
/** How long a signed URL is valid, in seconds: the clock may be 15 minutes slow, as for other requests. */
const URL_SECONDS = 16 * 60;
/** Longest response with an error that is read. */
const MAX_ERROR_BYTES = 64 * 1024;
/** Codes of services that do not know the condition of a request. */
const UNSUPPORTED = new Set(['NotImplemented', 'InvalidArgument', 'InvalidRequest']);
/** How often the right version is tried before it counts as rejected: a request that was sent again may have succeeded twice. */
const CHECK_TRIES = 3;
/** An ETag that no object has. */
const OTHER_VERSION = { etag: `"${'0'.repeat(32)}"` };

type Body = string | Uint8Array<ArrayBuffer>;

/** The version of an object that was read or written. */
export interface ObjectVersion {
  /** Undefined if the service does not say: then changes are unconditional. */
  readonly etag: string | undefined;
}

/** An object, all of which is of one version. */
export interface ReadObject extends ObjectVersion {
  readonly content: Uint8Array<ArrayBuffer>;
}

/** The conditions that a service checks. Services that do not may ignore or reject them. */
export interface CheckedConditions {
  readonly writes: boolean;
  readonly removals: boolean;
}

/** The part of a bucket that changes objects under a condition. Changes are unconditional if the service rejects conditions. */
export interface ObjectVersions {
  /**
   * Reads an object; undefined if there is none.
   *
   * @param onSize called with the size of an object before more than 4 MB of it are read. Throws to cancel
   * @throws {ObjectChangedError} if it is replaced meanwhile
   */
  readVersion(key: string, onSize?: (bytes: number) => void): Promise<ReadObject | undefined>;
  /**
   * Stores an object that is sent with one request.
   *
   * @param version what was read; undefined if there was no object
   * @throws {ObjectChangedError} if the object is another one now. After an error of the network, that may be the new one
   */
  replace(key: string, content: Body, version: ObjectVersion | undefined): Promise<ObjectVersion>;
  /**
   * Deletes an object. It is not an error if there is none.
   *
   * @throws {ObjectChangedError} if the object is another one now
   */
  removeVersion(key: string, version: ObjectVersion): Promise<void>;
  /**
   * Finds out which conditions the service checks, with an object that it creates and deletes. Later changes are
   * unconditional where it does not check them. The result also tells what later responses show.
   */
  checkConditions(key: string): Promise<CheckedConditions>;
}

/** A request that the service has not accepted. */
class ResponseError extends Error {
  override readonly name = 'ResponseError';
  /** The code of the service; HTTP and the status if it sends none. */
  readonly code: string;
  readonly status: number;

  constructor(status: number, code: string | undefined) {
    super('The S3 service has not accepted a request');
    this.status = status;
    this.code = code ?? (status >= 500 ? 'ServiceUnavailable' : `HTTP${status}`);
  }

  /** Whether the service may not know the condition of the request. */
  get isUnsupported(): boolean {
    return this.status === 501 || UNSUPPORTED.has(this.code);
  }

  /**
   * Whether the condition is not met. S3 sends OperationAborted with 409 as well, for any request. Old versions of MinIO send
   * 304 (https://github.com/minio/minio/issues/19442).
   */
  get isChanged(): boolean {
    const isConflict = this.status === 409 && this.code !== 'OperationAborted';
    return this.status === 412 || this.status === 304 || isConflict || this.code === 'NoSuchKey';
  }
}

/**
 * Creates the conditional requests of a bucket.
 *
 * @param request sends a request again if it fails for a reason that may pass, and explains errors
 * @param place the host of the service
 */
export function createObjectVersions(
  client: S3Client,
  request: <Result>(action: ObjectAction, send: (signal: AbortSignal) => Promise<Result>) => Promise<Result>,
  place: string,
): ObjectVersions {
  const checked = { writes: true, removals: true };

  async function send(
    method: 'GET' | 'PUT' | 'DELETE',
    key: string,
    init: { readonly headers: Record<string, string>; readonly body?: Body },
    signal: AbortSignal,
  ): Promise<Response> {
    const url = client.presign(key, { method, expiresIn: URL_SECONDS });
    // a redirect could lead anywhere, and a compressed response has another ETag
    const headers = { ...init.headers, 'accept-encoding': 'identity' };
    const response = await fetch(url, { ...init, headers, method, signal, redirect: 'manual' });
    if (response.ok) return response;
    throw new ResponseError(response.status, await errorCodeOf(response));
  }

  /** Reads at most {@link READ_BYTES} from a position on; undefined if there is no object. */
  function readRange(key: string, start: number): Promise<(ReadObject & { readonly size: number }) | undefined> {
    return request('read', async (signal) => {
      try {
        const headers = { range: `bytes=${start}-${start + READ_BYTES - 1}` };
        const response = await send('GET', key, { headers }, signal);
        const { size, length } = sizesOf(response, start);
        const content = length <= READ_BYTES && response.body ? await readExactly(response.body, length) : undefined;
        if (!content) throw wrongLength(start);
        return { content, size, etag: strongEtagOf(response) };
      } catch (error) {
        if (!(error instanceof ResponseError)) throw error;
        if (error.code === 'NoSuchKey') return undefined;
        // no byte of an empty object can be requested
        if (error.code === 'InvalidRange' && start === 0) {
          return { content: new Uint8Array(0), size: 0, etag: undefined };
        }
        throw error;
      }
    });
  }

  function wrongLength(at: number): ObjectStoreError {
    return new ObjectStoreError(`${place} returned another number of bytes of the object at byte ${at}. Retry.`);
  }

  async function readVersion(key: string, onSize?: (bytes: number) => void): Promise<ReadObject | undefined> {
    const first = await readRange(key, 0);
    if (!first) return undefined;
    const { size, etag } = first;
    onSize?.(size);
    if (first.content.length === size) return first;
    const content = new Uint8Array(size);
    const requestAt = (start: number) => {
      const range = readRange(key, start);
      range.catch(() => {}); // reported when it is awaited, if it ever is
      return range;
    };
    let next: ReturnType<typeof readRange> = Promise.resolve(first);
    for (let at = 0; at < size; at += READ_BYTES) {
      const range = await next;
      if (range?.etag !== etag || range?.size !== size) throw new ObjectChangedError(key);
      if (range.content.length !== Math.min(READ_BYTES, size - at)) throw wrongLength(at);
      if (at + READ_BYTES < size) next = requestAt(at + READ_BYTES);
      content.set(range.content, at);
    }
    return { content, etag };
  }

  /**
   * Sends a change under a condition, or without one if the service does not know it.
   *
   * @param condition the header; undefined if the version is unknown
   */
  async function change(
    what: 'writes' | 'removals',
    key: string,
    condition: Record<string, string> | undefined,
    body?: Body,
  ): Promise<ObjectVersion> {
    const isConditional = condition !== undefined && checked[what];
    const [action, method] = what === 'writes' ? (['write', 'PUT'] as const) : (['delete', 'DELETE'] as const);
    const init = {
      headers: { ...(isConditional && condition), ...(body && { 'content-type': 'application/octet-stream' }) },
      ...(body !== undefined && { body }),
    };
    const version = await request(action, async (signal) => {
      try {
        return { etag: strongEtagOf(await send(method, key, init, signal)) };
      } catch (error) {
        if (!(error instanceof ResponseError)) throw error;
        if (what === 'removals' && error.code === 'NoSuchKey') return { etag: undefined };
        if (isConditional && error.isChanged) throw new ObjectChangedError(key);
        if (isConditional && error.isUnsupported) return undefined;
        throw error;
      }
    });
    if (version) return version;
    const changed = await change(what, key, undefined, body);
    checked[what] = false; // the condition was the reason
    return changed;
  }

  const replace: ObjectVersions['replace'] = (key, content, version) =>
    change('writes', key, version ? ifMatch(version) : { 'if-none-match': '*' }, content);

  async function removeVersion(key: string, version: ObjectVersion): Promise<void> {
    await change('removals', key, ifMatch(version));
  }

  return {
    readVersion,
    replace,
    removeVersion,
    async checkConditions(key) {
      const content = 'Written to find out whether the service checks conditions. It can be deleted.\n';
      await isRejected(replace(key, content, undefined)); // an earlier check may have left it
      let version: ObjectVersion | undefined = await readVersion(key);
      checked.writes &&= version?.etag !== undefined && (await isRejected(replace(key, content, OTHER_VERSION)));
      // a service that rejects the right version too would never store anything
      for (let tries = 1; version && checked.writes && (await isRejected(replace(key, content, version))); tries++) {
        if (tries === CHECK_TRIES) checked.writes = false;
        version = await readVersion(key);
      }
      version = await readVersion(key);
      checked.removals &&= checked.writes && (await isRejected(removeVersion(key, OTHER_VERSION)));
      if (version) await isRejected(removeVersion(key, version));
      return checked;
    },
  };
}

/** Returns whether a change was rejected because of its condition. */
async function isRejected(change: Promise<unknown>): Promise<boolean> {
  try {
    await change;
    return false;
  } catch (error) {
    if (error instanceof ObjectChangedError) return true;
    throw error;
  }
}

function ifMatch({ etag }: ObjectVersion): Record<string, string> | undefined {
  return etag === undefined ? undefined : { 'if-match': etag };
}

/** Returns the ETag of a response. A proxy may have marked it as weak, which no condition matches. */
function strongEtagOf({ headers }: Response): string | undefined {
  return headers.get('etag')?.replace(/^W\//, '');
}

/** Returns the size of an object and the length of the response, which may be all of the object. */
function sizesOf({ status, headers }: Response, start: number): { size: number; length: number } {
  const length = Number(headers.get('content-length') ?? Number.NaN);
  if (status === 200 && start === 0) return { size: length, length };
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get('content-range') ?? '') ?? [];
  if (Number(first) !== start) return { size: Number.NaN, length: Number.NaN };
  return { size: Number(size), length: Number(last) + 1 - start };
}

/** Returns the code in a response with an error. */
async function errorCodeOf({ body }: Response): Promise<string | undefined> {
  let text = '';
  try {
    for await (const chunk of body ?? []) {
      text += Buffer.from(chunk).toString('latin1');
      if (text.length > MAX_ERROR_BYTES) break;
    }
  } catch {
    // the status tells enough
  }
  return /<Code>(\w{1,64})<\/Code>/.exec(text)?.[1];
}

/** Reads a stream of a known length; undefined if it has another one. Does not wait for the end of a longer one. */
export async function readExactly(
  stream: ReadableStream<Uint8Array>,
  length: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = new Uint8Array(length);
  let read = 0;
  for await (const chunk of stream) {
    if (chunk.length > length - read) return undefined; // leaving the loop cancels the request
    bytes.set(chunk, read);
    read += chunk.length;
  }
  return read === length ? bytes : undefined;
}
