import { afterAll, beforeAll, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { openObjectStore } from '../../src/object-store.ts';
import { ObjectChangedError, ObjectStoreError } from '../../src/object-store-error.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { temporaryFolder } from '../harness/target.ts';

const MB = 1024 ** 2;

let folder: ReturnType<typeof temporaryFolder>;
let server: S3Server;
beforeAll(async () => {
  folder = temporaryFolder();
  server = await startS3Server(folder.path);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function open(changes: { readonly endpoint?: string; readonly accessKeyId?: string; readonly bucket?: string } = {}) {
  return openObjectStore(changes.bucket ?? server.bucket, {
    endpoint: changes.endpoint ?? server.env['S3_ENDPOINT'],
    region: undefined,
    accessKeyId: changes.accessKeyId ?? server.env['S3_ACCESS_KEY_ID'],
    secretAccessKey: 'S3RVER',
    sessionToken: undefined,
  });
}

test('an object is replaced and deleted only if it is still the version that was read', async () => {
  const store = open();
  expect(await store.readVersion('counter')).toBeUndefined();
  await store.replace('counter', '1', undefined);
  await expect(store.replace('counter', '2', undefined)).rejects.toBeInstanceOf(ObjectChangedError);
  const read = await store.readVersion('counter');
  if (!read) throw new Error('not found');
  expect(Buffer.from(read.content).toString()).toBe('1');
  const written = await store.replace('counter', '2', read);
  await expect(store.replace('counter', '3', read)).rejects.toBeInstanceOf(ObjectChangedError);
  await expect(store.removeVersion('counter', read)).rejects.toBeInstanceOf(ObjectChangedError);
  await store.removeVersion('counter', written);
  await store.removeVersion('counter', written);
  await expect(store.replace('counter', '3', read)).rejects.toBeInstanceOf(ObjectChangedError);
  expect(await store.readVersion('counter')).toBeUndefined();
});

test.each([1, 4 * MB, 4 * MB + 1, 9 * MB])('reads an object of %d bytes', async (size) => {
  const store = open();
  const content = randomBytes(size);
  await store.put('sized', content);
  const sizes: number[] = [];
  const read = await store.readVersion('sized', (bytes) => sizes.push(bytes));
  expect(sizes).toEqual([size]);
  expect(content.equals(read?.content ?? new Uint8Array(1))).toBe(true);
});

test('reads an empty object, of which no byte can be requested', async () => {
  const store = open();
  server.fail((request) => request.startsWith('GET'), { status: 416, code: 'InvalidRange' });
  expect(await store.readVersion('empty')).toMatchObject({ content: new Uint8Array(0) });
});

test('an object that is too large for the caller is not read completely', async () => {
  const store = open();
  await store.put('large', randomBytes(9 * MB));
  const before = server.requests.length;
  const tooLarge = new Error('too large');
  const reading = store.readVersion('large', () => {
    throw tooLarge;
  });
  await expect(reading).rejects.toBe(tooLarge);
  expect(server.requests.slice(before)).toHaveLength(1);
});

test('the parts of an object are of one version', async () => {
  const store = open();
  const next = randomBytes(9 * MB);
  await store.put('large', randomBytes(9 * MB));
  let reads = 0;
  const isRead = (request: string) => /^GET [^?]*large/.test(request);
  const arrived = server.arrivals(isRead, 2);
  const release = server.hang((request) => isRead(request) && ++reads === 2);
  const reading = store.readVersion('large');
  await arrived;
  await store.put('large', next);
  release();
  await expect(reading).rejects.toBeInstanceOf(ObjectChangedError);
  expect(next.equals((await store.readVersion('large'))?.content ?? new Uint8Array(1))).toBe(true);
});

test('errors are explained without the signed URL', async () => {
  const closed = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() });
  const endpoint = closed.url.origin;
  await closed.stop(true);
  await using redirecting = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () => Response.redirect(`${server.env['S3_ENDPOINT']}/stolen`, 307),
  });
  const stores = [
    [open({ endpoint }), 'cannot be reached (ECONNREFUSED)'],
    [open({ endpoint: redirecting.url.origin }), 'could not write objects in the bucket my-bucket (HTTP307)'],
    [open({ accessKeyId: 'WRONG' }), 'rejects the S3 credentials (InvalidAccessKeyId)'],
    [open({ bucket: 'no-such-bucket' }), 'There is no bucket no-such-bucket'],
  ] as const;
  for (const [store, message] of stores) {
    const error = await store.replace('key', 'content', undefined).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ObjectStoreError);
    expect(String(error)).toContain(message);
    expect(Bun.inspect(error)).not.toMatch(/X-Amz|Signature=/);
  }
});

test('a response that says 404 without being from S3 is an error, not an object that is gone', async () => {
  const store = open();
  server.fail((request) => request.startsWith('GET'), { status: 404 });
  await expect(store.readVersion('key')).rejects.toThrow('(HTTP404)');
});

test('an overloaded service is asked again', async () => {
  const store = open();
  server.fail((request) => request.startsWith('PUT'), { status: 503, code: 'SlowDown' });
  await store.replace('busy', 'content', undefined);
  server.fail((request) => request.startsWith('PUT'), { status: 502 });
  await store.replace('busy', 'changed', await store.readVersion('busy'));
  expect(Buffer.from((await store.readVersion('busy'))?.content ?? []).toString()).toBe('changed');
});

const text = async (store: ReturnType<typeof open>, key: string) =>
  Buffer.from((await store.readVersion(key))?.content ?? []).toString();
const isPut = (request: string) => request.startsWith('PUT');

test.each([{ status: 501 }, { status: 400, code: 'NotImplemented' }, { status: 400, code: 'InvalidArgument' }])(
  'a service that responds %j to a condition is written to without one',
  async (error) => {
    const store = open();
    await store.put('key', 'first');
    const read = await store.readVersion('key');
    await store.put('key', 'second');
    server.fail(isPut, error);
    await store.replace('key', 'third', read);
    expect(await text(store, 'key')).toBe('third');
    await store.replace('key', 'fourth', read);
    expect(await text(store, 'key')).toBe('fourth');
  },
);

test('conditions stay if such a response has another reason', async () => {
  const store = open();
  await store.put('key', 'first');
  server.fail(isPut, { status: 400, code: 'InvalidRequest' }, 2);
  await expect(store.replace('key', 'second', undefined)).rejects.toThrow('(InvalidRequest)');
  await expect(store.replace('key', 'second', undefined)).rejects.toBeInstanceOf(ObjectChangedError);
});

test.each([304, 409, 412])('status %d means that the object is another one', async (status) => {
  const store = open();
  server.fail(isPut, { status });
  await expect(store.replace('key', 'second', undefined)).rejects.toBeInstanceOf(ObjectChangedError);
});

test('finds out that a service checks conditions, although an earlier check was interrupted', async () => {
  const store = open();
  expect(await store.checkConditions('conditions')).toEqual({ writes: true, removals: true });
  expect(await store.readVersion('conditions')).toBeUndefined();
  await store.put('conditions', 'left by an earlier check');
  expect(await open().checkConditions('conditions')).toEqual({ writes: true, removals: true });
  expect(await store.readVersion('conditions')).toBeUndefined();
});

test('a service that rejects the right version as well is written to without conditions', async () => {
  const store = open();
  let puts = 0;
  server.fail((request) => isPut(request) && ++puts > 1, { status: 412, code: 'PreconditionFailed' }, 4);
  expect(await store.checkConditions('conditions')).toEqual({ writes: false, removals: false });
  await store.replace('key', 'first', { etag: '"another"' });
  expect(await text(store, 'key')).toBe('first');
});
