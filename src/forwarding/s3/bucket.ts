import { parseS3Prefix, type S3Access } from '../../formats/s3.ts';
import { openObjectStore, type StoredObject } from '../../object-store.ts';
import { ObjectChangedError, ObjectStoreError } from '../../object-store-error.ts';
import type { CheckedConditions, ObjectVersion, ReadObject } from '../../object-versions.ts';
import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';
import { damaged } from './stored-rows.ts';

/** Largest object that is read into memory. The sink stores 32 MB of texts before they are compressed. */
const MAX_OBJECT_BYTES = 256 * 1024 ** 2;
/** How often an object is changed again after another server has changed it, and the longest first delay, which doubles. */
const TRIES = 8;
const RETRY_DELAY_MS = 50;

/** A bucket, whose errors are those of a sink. All calls reject when a signal is aborted; requests may then still end. */
export interface Bucket {
  /** Lists the objects with a prefix, in the order of their keys, from the first one after a key. */
  listAll(prefix: string, after?: string): AsyncGenerator<StoredObject>;
  /** Reads an object; undefined if there is none. */
  read(key: string): Promise<ReadObject | undefined>;
  /**
   * Stores an object. Resolves once the bucket lists it with its size.
   *
   * @param version what was read; undefined if there was no object. If another server changes it meanwhile, that is an error
   *   after which {@link changing} repeats its work
   */
  put(key: string, content: string | Uint8Array<ArrayBuffer>, version: ObjectVersion | undefined): Promise<void>;
  /** Deletes an object, unless another server has changed it since it was read, as {@link put}. */
  remove(key: string, version: ObjectVersion): Promise<void>;
  /** Reads, and changes what it has read, again if another server has changed that meanwhile. */
  changing(work: () => Promise<void>): Promise<void>;
  /** Finds out once which conditions the service checks, with an object that it creates and deletes. */
  conditions(key: string): Promise<CheckedConditions>;
}

/** Opens the bucket of a URL such as s3://bucket/prefix. The prefix ends with a slash, unless it is empty. */
export function openBucket(url: string, access: S3Access): { prefix: string; bucket: (signal: AbortSignal) => Bucket } {
  const { bucket: name, key: prefix } = parseS3Prefix(url);
  const store = openObjectStore(name, access);
  let conditions: Promise<CheckedConditions> | undefined;

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
        if (error instanceof ObjectChangedError) throw error;
        throw new (error.isRejection ? SinkConfigurationError : SinkUnavailableError)(error.message);
      } finally {
        signal.removeEventListener('abort', abort);
      }
    }

    async function changing(work: () => Promise<void>): Promise<void> {
      for (let tries = 1; ; tries++) {
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof ObjectChangedError)) throw error;
          if (tries === TRIES) throw new SinkUnavailableError(error.message);
        }
        // servers that disturb each other spread out
        const delayMs = RETRY_DELAY_MS * 2 ** (tries - 1) * (0.5 + Math.random() / 2);
        await attempt(() => Bun.sleep(delayMs));
      }
    }

    async function read(key: string): Promise<ReadObject | undefined> {
      return store.readVersion(key, (bytes) => {
        if (bytes > MAX_OBJECT_BYTES) throw damaged(key);
      });
    }

    async function put(key: string, content: string | Uint8Array<ArrayBuffer>, version: ObjectVersion | undefined) {
      const { etag } = await store.replace(key, content, version);
      const listed = await store.find(key);
      if (listed?.bytes === Buffer.byteLength(content)) return;
      // another server can replace or delete it at once; without an ETag, that cannot be determined
      if (etag !== undefined && !isVersion(listed, etag)) throw new ObjectChangedError(key);
      // a proxy can say yes to any request
      throw new SinkUnavailableError(`The S3 service confirmed the object ${key}, but does not have it`);
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
      read: (key) => attempt(() => read(key)),
      put: (key, content, version) => attempt(() => put(key, content, version)),
      remove: (key, version) => attempt(() => store.removeVersion(key, version)),
      changing,
      conditions(key) {
        conditions ??= store.checkConditions(key).catch((error: unknown) => {
          conditions = undefined; // checked again after an error
          throw error;
        });
        const checked = conditions;
        return attempt(() => checked);
      },
    };
  }

  return { prefix, bucket };
}

/** Returns whether an object may be of a version. Some services quote the ETags in their lists, and some do not. */
function isVersion(listed: StoredObject | undefined, etag: string): boolean {
  const unquoted = (text: string) => text.replaceAll('"', '');
  return listed !== undefined && (listed.etag === undefined || unquoted(listed.etag) === unquoted(etag));
}
