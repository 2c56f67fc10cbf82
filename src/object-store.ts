import { S3Client, type S3ListObjectsOptions } from 'bun';
import type { S3Access } from './formats/s3.ts';
import { explainS3Error, type ObjectAction, ObjectStoreError, timeoutError } from './object-store-error.ts';
import { createObjectVersions, type ObjectVersions, readExactly } from './object-versions.ts';

/** Bytes read with one request. The next ones are requested meanwhile. */
const READ_BYTES = 4 * 1024 ** 2;
/** Time that a request may take, in seconds: 4 MB at 1 Mbit/s. */
const REQUEST_TIMEOUT_SECONDS = 35;
/** How often a request is sent, and the delay before the second time, which doubles, in milliseconds. */
const TRIES = 3;
const RETRY_DELAY_MS = 500;
/** Smallest size of the parts of an upload, and their number. S3 allows 10,000 parts of at least 5 MiB. */
const MIN_PART_BYTES = 5 * 1024 ** 2;
const MAX_PARTS = 9_000;
/** Parts that are sent at once. They are in memory meanwhile. */
const PARALLEL_PARTS = 2;
/** How long a failed upload waits for its parts to be deleted, in milliseconds. */
const ABORT_MS = 1_500;
/** How long an upload may wait for the network, in seconds. */
const STALL_TIMEOUT_SECONDS = 180;

/** An object as it is listed. */
export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  /** Differs after the object was replaced by another one. Undefined if the service does not say. */
  readonly etag?: string | undefined;
}

/** Options of {@link ObjectStore.upload}. */
export interface UploadOptions {
  /** About how large the object will be. */
  readonly sizeBytes: number;
  /**
   * Whether an existing object is replaced. Otherwise it is an error, unless it is created at the very moment when the
   * upload ends.
   */
  readonly overwrite: boolean;
  /** Rejects to cancel the upload, with the error to throw. */
  readonly interrupted?: Promise<never>;
}

/** A bucket in S3. Errors are {@link ObjectStoreError}s; errors that may pass are retried. */
export interface ObjectStore extends ObjectVersions {
  /** Lists the objects with a prefix, in the order of their keys, without those that have a slash after it. */
  list(prefix: string): AsyncGenerator<StoredObject>;
  /** Lists all objects with a prefix, in the order of their keys, from the first one after a key. */
  listAll(prefix: string, after?: string): AsyncGenerator<StoredObject>;
  /** Finds an object; undefined if there is none. */
  find(key: string): Promise<StoredObject | undefined>;
  /**
   * Yields the bytes of an object in chunks; two of them are in memory.
   *
   * @param range the first byte, and the one after the last; default: all
   */
  read(
    object: StoredObject,
    range?: { readonly start: number; readonly end: number },
  ): AsyncGenerator<Uint8Array<ArrayBuffer>>;
  /** Stores an object that is sent with one request, or replaces it. */
  put(key: string, content: string | Uint8Array): Promise<void>;
  /**
   * Stores an object of any size. It becomes visible as a whole, at the end. If an error comes first, the parts that were
   * sent are deleted, unless only the last ones are still on their way.
   *
   * @param content the chunks, which are valid only until the next one is requested. Its errors are rethrown
   */
  upload(key: string, content: AsyncIterable<Uint8Array>, options: UploadOptions): Promise<void>;
  /** Deletes an object. It is not an error if there is none. */
  remove(key: string): Promise<void>;
}

/** Opens a bucket. Nothing is sent yet. */
export function openObjectStore(bucket: string, access: S3Access): ObjectStore {
  const client = new S3Client({ bucket, ...definedOf(access) });
  const place = access.endpoint === undefined ? 'Amazon S3' : new URL(access.endpoint).host;
  const explain = (error: unknown, action: ObjectAction) => explainS3Error(error, action, bucket, place);

  /** Sends a request, again if it fails for a reason that may pass. */
  async function request<Result>(
    action: ObjectAction,
    send: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    for (let tries = 1; ; tries++) {
      const timeout = rejectAfter(REQUEST_TIMEOUT_SECONDS);
      const controller = new AbortController();
      try {
        return await Promise.race([send(controller.signal), timeout.promise]);
      } catch (error) {
        controller.abort(); // of a request that takes too long
        const explained = explain(error, action);
        const isTransient = explained instanceof ObjectStoreError && explained.isTransient;
        if (!isTransient || tries === TRIES) throw explained;
      } finally {
        timeout.clear();
      }
      await Bun.sleep(RETRY_DELAY_MS * 2 ** (tries - 1));
    }
  }

  function rejectAfter(seconds: number): { promise: Promise<never>; clear: () => void } {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(timeoutError(place, seconds)), seconds * 1000);
    return { promise, clear: () => clearTimeout(timer) };
  }

  async function find(key: string): Promise<StoredObject | undefined> {
    // a HEAD request would not say why it fails
    const { contents } = await request('list', () => client.list({ prefix: key, maxKeys: 1 }));
    const [first] = contents ?? [];
    return first?.key === key ? storedObject(first) : undefined;
  }

  async function* listPages(options: S3ListObjectsOptions): AsyncGenerator<StoredObject> {
    let continuationToken: string | undefined;
    do {
      const next = continuationToken === undefined ? options : { ...options, continuationToken };
      const page = await request('list', () => client.list(next));
      for (const found of page.contents ?? []) yield storedObject(found);
      continuationToken = page.isTruncated ? page.nextContinuationToken : undefined;
    } while (continuationToken !== undefined);
  }

  async function assertNew(key: string): Promise<void> {
    if (await find(key)) {
      throw new ObjectStoreError(
        `s3://${bucket}/${key} already exists. Choose another name, or pass --force to replace it.`,
      );
    }
  }

  return {
    ...createObjectVersions(client, request, place),
    find,
    list: (prefix) => listPages({ prefix, delimiter: '/' }),
    listAll: (prefix, after) => listPages({ prefix, ...(after !== undefined && { startAfter: after }) }),
    async *read({ key, bytes }, { start, end } = { start: 0, end: bytes }) {
      if (start >= end) return;
      const file = client.file(key);
      const requestAt = (at: number) => {
        const chunkEnd = Math.min(at + READ_BYTES, end);
        const chunk = request('read', () => readExactly(file.slice(at, chunkEnd).stream(), chunkEnd - at));
        chunk.catch(() => {}); // reported when it is awaited, if it ever is
        return chunk;
      };
      let next = requestAt(start);
      for (let at = start; at < end; at += READ_BYTES) {
        const chunk = await next;
        if (chunk === undefined) {
          throw new ObjectStoreError(`${place} returned another number of bytes of the object at byte ${at}. Retry.`);
        }
        if (at + READ_BYTES < end) next = requestAt(at + READ_BYTES);
        yield chunk;
      }
    },
    async put(key, content) {
      await request('write', () => client.write(key, content));
    },
    async upload(key, content, { sizeBytes, overwrite, interrupted }) {
      if (!overwrite) await Promise.race([assertNew(key), ...(interrupted ? [interrupted] : [])]);
      const chunks = content[Symbol.asyncIterator]();
      const failed = Promise.withResolvers<never>();
      let failure: { readonly error: unknown } | undefined;
      let sentBytes = 0;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stream = new ReadableStream<Uint8Array>(
        {
          start(controller) {
            interrupted?.catch((error: unknown) => fail(controller, error));
          },
          async pull(controller) {
            clearTimeout(timer);
            try {
              const { value, done } = await chunks.next();
              if (!done) {
                sentBytes += value.length;
                controller.enqueue(Uint8Array.from(value));
              } else {
                if (!overwrite) await assertNew(key);
                controller.close();
              }
            } catch (error) {
              fail(controller, error);
            }
            if (failure) return;
            const onStall = () => fail(controller, timeoutError(place, STALL_TIMEOUT_SECONDS));
            timer = setTimeout(onStall, STALL_TIMEOUT_SECONDS * 1000);
          },
        },
        { highWaterMark: 0 },
      );
      /** Ends the upload with an error. If there are still chunks to come, Bun deletes the parts. */
      function fail(controller: ReadableStreamDefaultController, error: unknown): void {
        failure ??= { error };
        controller.error(error);
        failed.reject(error);
      }
      const partSize = Math.max(MIN_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS));
      const options = { partSize, queueSize: PARALLEL_PARTS };
      try {
        await Promise.race([client.write(key, new Response(stream), options), failed.promise]);
      } catch (error) {
        // Bun deletes the parts after those on their way have arrived, and does not say when
        if (sentBytes >= partSize) await Bun.sleep(ABORT_MS);
        throw failure ? failure.error : explain(error, 'write');
      } finally {
        clearTimeout(timer);
      }
    },
    async remove(key) {
      await request('delete', () => client.delete(key));
    },
  };
}

/** Returns the options that are set: Bun takes its own defaults for the others. */
function definedOf(access: S3Access): Partial<Record<keyof S3Access, string>> {
  return Object.fromEntries(Object.entries(access).filter(([, value]) => value !== undefined));
}

function storedObject({ key, size, eTag }: { key: string; size?: number; eTag?: string }): StoredObject {
  return { key, bytes: size ?? 0, etag: eTag };
}
