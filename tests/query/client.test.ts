import { afterAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { ApiError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { BACKGROUND, type FinishedQuery, type QueryCaller } from '../../src/query/caller.ts';
import { createQueryClient, type QueryClient } from '../../src/query/client.ts';
import { createFairQueue } from '../../src/query/fair-queue.ts';
import { openStorage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { event, records } from '../storage/log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());

const WORKER = new URL('../../src/query/worker.ts', import.meta.url);
const ENDING_WORKER = new URL('./ending-worker.ts', import.meta.url);
let databases = 0;
const NEVER = new AbortController().signal;
const userNamed = (userId: string): QueryCaller => ({ userId, canReadAll: false, signal: NEVER });
const A = userNamed('a');

function clientOf(path: string, worker = WORKER, timeoutMs = 10_000): QueryClient {
  return createQueryClient({
    path,
    worker,
    timeoutMs,
    maxResultBytes: 1e7,
    idleTimeoutMs: 60_000,
    log: createLog('silent'),
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof ApiError ? error.code : (error as Error).name;
  }
}

describe('the fair queue', () => {
  test('lets users take turns, regardless of how many queries each sends', async () => {
    const queue = createFairQueue();
    const order: string[] = [];
    const work = (name: string) => async () => void order.push(name);
    const gate = Promise.withResolvers<void>();
    const first = queue.run(A, () => gate.promise);
    const queued = ['a1', 'a2', 'a3', 'a4'].map((name) => queue.run(A, work(name)));
    queued.push(
      queue.run(userNamed('b'), work('b1')),
      queue.run(userNamed('b'), work('b2')),
      queue.run(userNamed('c'), work('c1')),
    );
    gate.resolve();
    await Promise.all([first, ...queued]);
    expect(order).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4']);
  });

  test('runs a query of the server when no user waits, but after 100 turns at the latest', async () => {
    const queue = createFairQueue();
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const run = (userId: string) => queue.run(userNamed(userId), async () => void order.push(userId || 'server'));
    const first = queue.run(A, () => gate.promise);
    const queued = [run(BACKGROUND), run('a'), run('b'), ...Array.from({ length: 3 }, () => run('a'))];
    gate.resolve();
    await Promise.all([first, ...queued]);
    expect(order).toEqual(['a', 'b', 'a', 'a', 'a', 'server']);
    const busy = Array.from({ length: 102 }, () => run('a'));
    const late = run(BACKGROUND);
    order.length = 0;
    await Promise.all([late, ...busy]);
    expect(order.indexOf('server')).toBe(100);
  });

  test('drops queries whose client disconnects, and rejects queries beyond its capacity', async () => {
    const queue = createFairQueue();
    const gate = Promise.withResolvers<void>();
    const running = queue.run(A, () => gate.promise);
    const disconnecting = new AbortController();
    let isRun = false;
    const dropped = codeOf(
      queue.run({ ...A, signal: disconnecting.signal }, async () => {
        isRun = true;
      }),
    );
    disconnecting.abort();
    expect(await dropped).toBe('ClientDisconnectedError');
    const waiting = Array.from({ length: 256 }, () => queue.run(A, async () => {}));
    expect(await codeOf(queue.run(A, async () => {}))).toBe('queries_overloaded');
    const other = queue.run(userNamed('b'), async () => 'b');
    gate.resolve();
    await Promise.all([running, ...waiting]);
    expect(await other).toBe('b');
    expect(isRun).toBe(false);
  });

  test('reserves places for callers that may read all rows', async () => {
    const queue = createFairQueue();
    const gate = Promise.withResolvers<void>();
    const running = queue.run(A, () => gate.promise);
    const run = (userId: string, canReadAll: boolean) =>
      codeOf(queue.run({ ...userNamed(userId), canReadAll }, async () => {}));
    const users = Array.from({ length: 5 * 256 }, (_, i) => run(`user ${i % 5}`, false));
    const readers = Array.from({ length: 300 }, (_, i) => run(`admin ${i % 2}`, true));
    gate.resolve();
    await running;
    const accepted = async (codes: Promise<string>[]) => (await Promise.all(codes)).filter((code) => code === 'none');
    expect(await accepted(users)).toHaveLength(1024 - 256);
    expect(await accepted(readers)).toHaveLength(256);
  });

  test('rejects waiting queries when it is closed', async () => {
    const queue = createFairQueue();
    const gate = Promise.withResolvers<void>();
    const running = queue.run(A, () => gate.promise);
    const waiting = codeOf(queue.run(userNamed('b'), async () => {}));
    queue.close(() => new ApiError('shutting_down'));
    expect(await waiting).toBe('shutting_down');
    gate.resolve();
    await running;
  });
});

describe('the query client', () => {
  /** Creates a database on which counts by label are slow. */
  async function largeDatabase(): Promise<string> {
    const path = join(folder.path, `large-${++databases}.db`);
    const storage = openStorage(path);
    const writer = createWriter(storage);
    const rows = records(60_000, (seq, i) => event(seq, { userId: `u ${i % 20_000}`, dataIndex: `l ${i % 900}` }));
    for (let i = 0; i < rows.length; i += 5_000) await writer.commit({ ...NOTHING, records: rows.slice(i, i + 5_000) });
    storage.close();
    return path;
  }
  const query = {
    name: 'click',
    from: undefined,
    to: undefined,
    user: undefined,
    interval: undefined,
    zone: 'UTC',

    top: 900,
  };

  test('cancels a running query when its client disconnects, and runs other queries', async () => {
    const client = clientOf(await largeDatabase());
    await client.maintain('catchUp', undefined);
    const caller = (signal: AbortSignal, userId = 'a') => ({ ...userNamed(userId), signal });
    await client.run('counts', query, caller(NEVER));
    const disconnecting = new AbortController();
    const finished: FinishedQuery[] = [];
    const leaving = { ...caller(disconnecting.signal), onFinished: (each: FinishedQuery) => void finished.push(each) };
    const running = Array.from({ length: 5 }, () => codeOf(client.run('counts', query, leaving)));
    disconnecting.abort();
    expect(await Promise.all(running)).toEqual(Array(5).fill('ClientDisconnectedError'));
    expect(finished.map(({ error }) => (error as Error).name)).toEqual(Array(5).fill('ClientDisconnectedError'));
    expect(finished.filter(({ ranMs }) => ranMs === undefined)).toHaveLength(4);
    expect(JSON.parse((await client.run('counts', query, caller(NEVER, 'b'))).value).count).toBe(60_000);
    const last = codeOf(client.run('counts', query, caller(NEVER)));
    await client.close();
    expect(await last).toBe('shutting_down');
    expect(await codeOf(client.run('counts', query, caller(NEVER)))).toBe('shutting_down');
  });

  test('restarts a failing worker with backoff, reports its state, and fails queries immediately', async () => {
    const client = clientOf(join(folder.path, 'no', 'such.db'));
    const caller = A;
    while (client.health().restarts < 3) {
      expect(await codeOf(client.run('names', { kind: 'metric', user: undefined }, caller))).toBe(
        'storage_unavailable',
      );
      await new Promise((resolve) => setImmediate(resolve)); // awaiting a rejection does not let timers run
    }
    expect(client.health()).toMatchObject({ state: 'restarting' });
    expect(await client.lag()).toBeUndefined();
    await client.close();
    expect(client.health().state).toBe('stopped');
  });

  test('aborts an export when the worker exits in the middle of it', async () => {
    const client = clientOf('', ENDING_WORKER);
    let broken: unknown;
    const all = { user: undefined, name: undefined, from: undefined, to: undefined };
    const stream = await client.export(
      { kind: 'metric', format: 'ndjson', filter: all, after: 0, safe: false },
      A,
      (error) => {
        broken = error;
      },
    );
    const reader = stream.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('{"a":1}\n');
    expect(await codeOf(reader.read())).toBe('storage_unavailable');
    expect(broken).toBeInstanceOf(ApiError);
    await client.close();
  });

  test('limits open exports per user, and accepts another once one is closed', async () => {
    const client = clientOf(await largeDatabase()); // a small export would complete before it is read
    const all = { user: undefined, name: undefined, from: undefined, to: undefined };
    const open = (userId: string) =>
      client.export(
        { kind: 'analytics', format: 'csv', filter: all, after: 0, safe: false },
        userNamed(userId),
        () => {},
      );
    const streams = await Promise.all(Array.from({ length: 8 }, () => open('a')));
    expect(await codeOf(open('a'))).toBe('queries_overloaded');
    await (await open('b')).cancel();
    await streams[0]?.cancel();
    await (await open('a')).cancel();
    await client.close();
  });

  test('reserves exports for callers that may read all rows', async () => {
    const client = clientOf(await largeDatabase());
    const all = { user: undefined, name: undefined, from: undefined, to: undefined };
    const open = (userId: string, canReadAll = false) =>
      client.export(
        { kind: 'analytics', format: 'csv', filter: all, after: 0, safe: false },
        { ...userNamed(userId), canReadAll },
        () => {},
      );
    const codes = await Promise.all(Array.from({ length: 40 }, (_, i) => codeOf(open(`user ${i % 5}`))));
    expect(codes.filter((code) => code === 'none')).toHaveLength(24);
    const admins = await Promise.all(Array.from({ length: 10 }, (_, i) => codeOf(open(`admin ${i % 2}`, true))));
    expect(admins.filter((code) => code === 'none')).toHaveLength(8);
    await client.close();
  });
});
