import { parseS3Prefix, type S3Access } from '../../formats/s3.ts';
import { openObjectStore, type StoredObject } from '../../object-store.ts';
import { ObjectStoreError } from '../../object-store-error.ts';
import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';
import { damaged } from './stored-rows.ts';

/** Largest object that is read into memory. The sink stores 32 MB of texts before they are compressed. */
const MAX_OBJECT_BYTES = 256 * 1024 ** 2;

/** A bucket, whose errors are those of a sink. All calls reject when a signal is aborted; requests may then still end. */
export interface Bucket {
  /** Lists the objects with a prefix, in the order of their keys, from the first one after a key. */
  listAll(prefix: string, after?: string): AsyncGenerator<StoredObject>;
  read(object: StoredObject): Promise<Uint8Array>;
  /** Returns the content of a small object; undefined if there is none. */
  readText(key: string): Promise<string | undefined>;
  /** Stores an object. Resolves once the bucket lists it with its size. */
  put(key: string, content: string | Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
}

/** Opens the bucket of a URL such as s3://bucket/prefix. The prefix ends with a slash, unless it is empty. */
export function openBucket(url: string, access: S3Access): { prefix: string; bucket: (signal: AbortSignal) => Bucket } {
  const { bucket: name, key: prefix } = parseS3Prefix(url);
  const store = openObjectStore(name, access);

  function bucket(signal: AbortSignal): Bucket {
    async function attempt<Result>(start: () => Promise<Result>): Promise<Result> {
      signal.throwIfAborted();
      const aborted = Promise.withResolvers<never>();
      const abort = () => aborted.reject(signal.reason);
      signal.addEventListener('abort', abort);
      try {
        return await Promise.race([start(), aborted.promise]);
      } catch (error) {
        if (!(error instanceof ObjectStoreError)) throw error;
        throw new (error.isRejection ? SinkConfigurationError : SinkUnavailableError)(error.message);
      } finally {
        signal.removeEventListener('abort', abort);
      }
    }

    async function read(object: StoredObject): Promise<Uint8Array> {
      if (object.bytes > MAX_OBJECT_BYTES) throw damaged(object.key);
      const chunks: Uint8Array[] = [];
      for await (const chunk of store.read(object)) chunks.push(chunk);
      return Buffer.concat(chunks);
    }

    return {
      async *listAll(listed, after) {
        const objects = store.listAll(listed, after);
        for (;;) {
          const { value, done } = await attempt(() => objects.next());
          if (done) return;
          yield value;
        }
      },
      read: (object) => attempt(() => read(object)),
      readText: (key) =>
        attempt(async () => {
          const object = await store.find(key);
          return object && new TextDecoder().decode(await read(object));
        }),
      put: (key, content) =>
        attempt(async () => {
          await store.put(key, content);
          // a proxy, or whatever a redirect leads to, can say yes to any request
          if ((await store.find(key))?.bytes !== Buffer.byteLength(content)) {
            throw new SinkUnavailableError(`The S3 service confirmed the object ${key}, but does not have it`);
          }
        }),
      remove: (key) => attempt(() => store.remove(key)),
    };
  }

  return { prefix, bucket };
}
