import crypto from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
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
  /** Resolves when a number of matching requests have arrived from now on. */
  arrivals(test: (request: string) => boolean, count: number): Promise<void>;
  /** Resolves when a number of matching requests have been executed from now on. */
  completions(test: (request: string) => boolean, count: number): Promise<void>;
  /** Responds to the next matching requests with an error, without executing them. */
  fail(test: (request: string) => boolean, error: S3Failure, count?: number): void;
}

/** A response with an error. */
export interface S3Failure {
  readonly status: number;
  /** Undefined for a response that does not come from S3. */
  readonly code?: string;
}

/**
 * What a server does with the conditions of requests, `If-Match` and `If-None-Match`: Amazon S3 checks them, MinIO does not
 * for deletions, Backblaze B2 rejects them, and others ignore them.
 */
export type S3Conditions = 'checked' | 'ignored for deletions' | 'rejected' | 'ignored';

interface KoaContext {
  readonly method: string;
  readonly url: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly res: ServerResponse;
  status: number;
  type: string;
  body: string;
}

type Next = () => Promise<void>;

/** Responds with an error as S3 does. */
function respond(context: KoaContext, { status, code }: S3Failure): void {
  context.status = status;
  context.type = 'application/xml';
  context.body = code === undefined ? '' : `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`;
}

/** Starts an S3 server on a free port that stores its objects in a folder. */
export async function startS3Server(
  folder: string,
  bucket = 'my-bucket',
  { pageObjects = PAGE_OBJECTS, conditions = 'checked' as S3Conditions } = {},
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
  let onArrival: (request: string) => void = () => {};
  let onCompletion: (request: string) => void = () => {};
  let failure: { test: (request: string) => boolean; error: S3Failure; left: number } | undefined;
  const uploads = join(folder, bucket, '._S3rver_uploads');
  const { store } = server;
  /** The last request of each key: s3rver reads and writes files in place, but an object of S3 is one version or another. */
  const last = new Map<string, Promise<unknown>>();

  /** Executes a request of an object after those before it. */
  async function inTurn(context: KoaContext, key: string, next: Next): Promise<void> {
    const before = last.get(key);
    const done = Promise.withResolvers<void>();
    last.set(key, done.promise);
    await before;
    if (context.res.destroyed) done.resolve();
    else context.res.once('close', done.resolve);
    if (context.method === 'GET') await next();
    else await changeIf(context, key, next);
  }

  /**
   * Changes an object if the condition is met. s3rver does not know conditions of changes; this does what S3 does:
   * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and conditional-deletes.html.
   */
  async function changeIf(context: KoaContext, key: string, next: Next): Promise<void> {
    const { 'if-match': match, 'if-none-match': noneMatch } = context.headers;
    const isIgnored =
      conditions === 'ignored' || (conditions === 'ignored for deletions' && context.method === 'DELETE');
    if ((match === undefined && noneMatch === undefined) || isIgnored) return next();
    if (conditions === 'rejected') return respond(context, { status: 501, code: 'NotImplemented' });
    const etag = (await store.existsObject(bucket, key)) ? (await store.getMetadata(bucket, key)).etag : undefined;
    if (match !== undefined && etag === undefined) return respond(context, { status: 404, code: 'NoSuchKey' });
    if (match === etag) return next(); // undefined if there shall be no object, and there is none
    respond(context, { status: 412, code: 'PreconditionFailed' });
  }

  server.middleware.unshift(async (context: KoaContext, next: Next) => {
    const { method, url, query } = context;
    const request = `${method} ${url}`;
    requests.push(request);
    onArrival(request);
    if (isHanging(request)) await released.promise;
    if (failure && failure.left > 0 && failure.test(request)) {
      failure.left--;
      return respond(context, failure.error);
    }
    const key = decodeURIComponent(url.replace(/\?.*/, '')).slice(`/${bucket}/`.length);
    const isOfObject = key !== '' && query['uploadId'] === undefined && query['uploads'] === undefined;
    if (isOfObject && method !== 'HEAD') {
      await inTurn(context, key, next);
      return onCompletion(request);
    }
    if (method !== 'DELETE' || query['uploadId'] === undefined) return next();
    // the one operation that s3rver lacks: AbortMultipartUpload
    rmSync(join(uploads, query['uploadId']), { recursive: true });
    context.status = 204;
  });
  // s3rver lists in the order of its folder, which Bun does not sort
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
    arrivals(test, count) {
      const { promise, countDown } = latch(test, count);
      onArrival = countDown;
      return promise;
    },
    completions(test, count) {
      const { promise, countDown } = latch(test, count);
      onCompletion = countDown;
      return promise;
    },
    fail(test, error, count = 1) {
      failure = { test, error, left: count };
    },
    async [Symbol.asyncDispose]() {
      server.httpServer.closeAllConnections();
      await server.close();
    },
  };
}

/** Returns a promise that resolves after a number of matching requests, and the function to call with each request. */
function latch(test: (request: string) => boolean, count: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = count;
  const countDown = (request: string) => {
    if (test(request) && --left === 0) resolve();
  };
  return { promise, countDown };
}
