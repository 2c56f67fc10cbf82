import crypto from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import S3rver from '@20minutes/s3rver';

/*
 * s3rver encrypts the tokens of further pages with DES, which Bun does not have. AES takes its place.
 */
const { createCipheriv, createDecipheriv } = crypto;
const twice = (bytes: Uint8Array) => Buffer.concat([bytes, bytes]);
Object.assign(crypto, {
  createCipheriv: (name: string, key: Uint8Array, iv: Uint8Array) =>
    name === 'des' ? createCipheriv('aes-128-cbc', twice(key), twice(iv)) : createCipheriv(name, key, iv),
  createDecipheriv: (name: string, key: Uint8Array, iv: Uint8Array) =>
    name === 'des' ? createDecipheriv('aes-128-cbc', twice(key), twice(iv)) : createDecipheriv(name, key, iv),
});

/** Default of the objects per page of a list. Services may return fewer than requested. */
const PAGE_OBJECTS = 2;

/** The only access key that the server accepts. */
const KEY = 'S3RVER';

/** A real S3 server, with one bucket in a folder. */
export interface S3Server extends AsyncDisposable {
  readonly bucket: string;
  /** The settings with which the program reaches it. */
  readonly env: Readonly<Record<string, string>>;
  /** The requests so far, such as "PUT /bucket/key?partNumber=1&uploadId=…". */
  readonly requests: readonly string[];
  /** Returns the path of the file that contains an object. */
  pathOf(key: string): string;
  /** Lists the uploads that have begun and are neither complete nor aborted. */
  uploads(): string[];
  /** Lets requests wait. Returns the function that lets them continue. */
  hang(isHanging: (request: string) => boolean): () => void;
}

interface KoaContext {
  readonly method: string;
  readonly url: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  status: number;
}

/** Starts an S3 server on a free port that stores its objects in a folder. */
export async function startS3Server(
  folder: string,
  bucket = 'my-bucket',
  { pageObjects = PAGE_OBJECTS } = {},
): Promise<S3Server> {
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    allowMismatchedSignatures: true, // it signs the path of a bucket without its slash
    directory: folder,
    vhostBuckets: false,
    configureBuckets: [{ name: bucket }],
  });
  const requests: string[] = [];
  let isHanging: (request: string) => boolean = () => false;
  let released = Promise.withResolvers<void>();
  const uploads = join(folder, bucket, '._S3rver_uploads');
  server.middleware.unshift(async (context: KoaContext, next: () => Promise<void>) => {
    const { method, url, query } = context;
    const request = `${method} ${url}`;
    requests.push(request);
    if (isHanging(request)) await released.promise;
    if (method !== 'DELETE' || query['uploadId'] === undefined) return next();
    // the one operation that s3rver lacks: AbortMultipartUpload
    rmSync(join(uploads, query['uploadId']), { recursive: true });
    context.status = 204;
  });
  // s3rver lists in the order of its folder, which Bun does not sort
  const { store } = server;
  const listObjects = store.listObjects.bind(store);
  store.listObjects = async (name, { startAfter = '', maxKeys = pageObjects, ...options }) => {
    const { objects, commonPrefixes } = await listObjects(name, options);
    const rest = objects.sort((a, b) => (a.key < b.key ? -1 : 1)).filter(({ key }) => key > startAfter);
    const page = rest.slice(0, Math.min(maxKeys, pageObjects));
    return { objects: page, commonPrefixes, isTruncated: page.length < rest.length };
  };
  const { port }: AddressInfo = await server.run();
  return {
    bucket,
    env: {
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      S3_ACCESS_KEY_ID: KEY,
      S3_SECRET_ACCESS_KEY: KEY,
    },
    requests,
    pathOf: (key) => join(folder, bucket, `${key}._S3rver_object`),
    uploads: () => (existsSync(uploads) ? readdirSync(uploads) : []),
    hang(test) {
      isHanging = test;
      released = Promise.withResolvers();
      return () => {
        isHanging = () => false;
        released.resolve();
      };
    },
    async [Symbol.asyncDispose]() {
      server.httpServer.closeAllConnections();
      await server.close();
    },
  };
}
