import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { S3Access } from '../../src/formats/s3.ts';
import { encodeParquet } from '../../src/forwarding/s3/parquet-rows.ts';
import { createS3Sink } from '../../src/forwarding/s3/sink.ts';
import { decodeStored } from '../../src/forwarding/s3/stored-rows.ts';
import { type Sink, SinkUnavailableError } from '../../src/forwarding/sink.ts';
import { openObjectStore } from '../../src/object-store.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { eventually } from '../harness/nats.ts';
import { type S3Conditions, type S3Server, startS3Server } from '../harness/s3-server.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { FIRST_SEQ, idOf, metric, records } from '../storage/log.ts';

/*
 * Servers that erase users from the same objects at the same moment. The S3 server holds requests, so that all of them have
 * read an object before the first one writes it.
 */

const NEVER = new AbortController().signal;
const ROWS = 12;

let folder: ReturnType<typeof temporaryFolder>;
const servers = new Map<S3Conditions, S3Server>();
let tests = 0;
beforeAll(async () => {
  folder = temporaryFolder();
  for (const conditions of ['checked', 'ignored for deletions', 'rejected', 'ignored'] as const) {
    servers.set(
      conditions,
      await startS3Server(join(folder.path, conditions), undefined, { conditions, pageObjects: 9 }),
    );
  }
});
afterAll(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Returns the sinks of two servers that share a prefix, and functions that look at its objects. */
function setUp(conditions: S3Conditions = 'checked') {
  const server = servers.get(conditions);
  if (!server) throw new Error('no such server');
  const prefix = `logs-${++tests}`;
  const access: S3Access = {
    endpoint: server.env['S3_ENDPOINT'],
    region: undefined,
    accessKeyId: server.env['S3_ACCESS_KEY_ID'],
    secretAccessKey: server.env['S3_SECRET_ACCESS_KEY'],
    sessionToken: undefined,
  };
  const warnings: string[] = [];
  const sinkOf = (node: string) =>
    createS3Sink(
      { url: new URL(`s3://${server.bucket}/${prefix}`), node, onWarning: (warning) => warnings.push(warning) },
      access,
    );
  const root = join(folder.path, conditions, server.bucket, prefix);
  const objectStore = openObjectStore(server.bucket, access);
  const objects = () =>
    ((existsSync(root) ? readdirSync(root, { recursive: true }) : []) as string[])
      .filter((name) => name.endsWith('._S3rver_object'))
      .map((name) => name.replace('._S3rver_object', ''))
      .sort();
  return {
    server,
    store: objectStore,
    prefix,
    warnings,
    sinkOf,
    objects,
    /** Matches the requests of a method for the objects with rows. */
    isFor:
      (method: string) =>
      (request: string): boolean =>
        request.startsWith(`${method} /${server.bucket}/${prefix}/kind`) && !request.includes('list-type'),
    /** Returns the users with rows, read while objects are written. */
    async users(): Promise<string[]> {
      const found = new Set<string>();
      for await (const { key } of objectStore.listAll(`${prefix}/kind=`)) {
        const read = await objectStore.readVersion(key);
        const rows = read ? await decodeStored(key, 'metric', read.content) : [];
        for (const { user_id } of rows) found.add(user_id);
      }
      return [...found].sort();
    },
    /** Counts the rows of each user, as DuckDB reads them. */
    async rowsByUser(): Promise<Record<string, number>> {
      const paths = objects().map((name) => `'${join(root, `${name}._S3rver_object`)}'`);
      if (paths.length === 0) return {};
      const instance = await DuckDBInstance.create();
      const connection = await instance.connect();
      const reader = await connection.runAndReadAll(
        `SELECT user_id, count(*)::int AS n FROM read_parquet([${paths.join()}]) GROUP BY 1 ORDER BY 1`,
      );
      connection.closeSync();
      instance.closeSync();
      return Object.fromEntries(reader.getRowObjectsJson().map(({ user_id, n }) => [user_id, n]));
    },
  };
}

/** Stores an object whose rows belong to some users in turn. Its number makes its rows differ from those of others. */
async function store(sink: Sink, number: number, users: readonly string[], node = 'node-a'): Promise<void> {
  const rows = records(ROWS, (seq, i) =>
    metric(seq + number * 1_000, { userId: users[i % users.length] ?? '', dataString: `label ${i}` }),
  );
  await sink.deliver({ kind: 'metric', node, records: rows }, NEVER);
}

const erasureOf = (userId: string) => {
  const cutoffSeq = FIRST_SEQ + 1_000_000;
  return { userId, cutoffSeq, cutoffId: idOf(cutoffSeq) };
};

test('erasures of different users by several servers at the same moment do not undo each other', async () => {
  const { server, sinkOf, isFor, rowsByUser, objects, warnings } = setUp();
  const nodes = ['node-a', 'node-b', 'node-c'];
  const sinks = nodes.map(sinkOf);
  const [a] = sinks;
  if (!a) throw new Error('no sink');
  await store(a, 0, ['ann', 'ben', 'cem', 'staying']);
  await store(a, 1, ['ann', 'ben', 'cem', 'staying'], 'node-b');
  await store(a, 2, ['ann', 'ben', 'cem']); // whichever server comes last finds only rows to erase
  // each server has read each object before any of them is written
  const arrived = server.arrivals(isFor('PUT'), 9);
  const release = server.hang(isFor('PUT'));
  const users = ['ann', 'ben', 'cem'];
  const erasing = Promise.all(sinks.map((sink, i) => sink.erase(erasureOf(users[i] ?? ''), NEVER)));
  await Promise.race([arrived, erasing]);
  release();
  await erasing;
  expect(await rowsByUser()).toEqual({ staying: 6 });
  expect(objects()).toHaveLength(2); // neither progress nor probes are left
  expect(warnings).toEqual([]);
});

/** Starts a server that forwards to a prefix. */
function startServer({ server, prefix }: { server: S3Server; prefix: string }, node: string): Promise<Target> {
  const env = {
    ...UNLIMITED,
    ...server.env,
    FORWARD_URL: `s3://${server.bucket}/${prefix}`,
    NODE_ID: node,
  };
  return startTarget(env, { dataDir: join(folder.path, crypto.randomUUID()) });
}

/** Records a row of a user, which is not forwarded within a minute, and erases the user. */
async function eraseOn(target: Target, user: string): Promise<void> {
  const recorded = await post(target, '/log_raw_metric', METRIC, {
    authorization: `Bearer ${await token({ sub: user })}`,
  });
  expect(recorded.status).toBe(200);
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const { status } = await send(`${target.url}/api/users/${user}`, { method: 'DELETE', headers });
  expect(status).toBe(200);
}

test('two running servers erase different users from the same objects', async () => {
  const bucket = setUp();
  const { server, sinkOf, isFor, users, rowsByUser } = bucket;
  await store(sinkOf('node_a'), 0, ['ann', 'ben', 'staying'], 'node_a');
  await store(sinkOf('node_a'), 1, ['ann', 'ben', 'staying'], 'node_b');
  const targets = await Promise.all(['node_a', 'node_b'].map((node) => startServer(bucket, node)));
  const [a, b] = targets;
  if (!a || !b) throw new Error('no servers');
  // the first server has read both objects; the second one is done before the first one writes
  const arrived = server.arrivals(isFor('PUT'), 2);
  let puts = 0;
  const release = server.hang((request) => isFor('PUT')(request) && ++puts <= 2);
  await eraseOn(a, 'ann');
  await arrived;
  await eraseOn(b, 'ben');
  await eventually(async () => !(await users()).includes('ben'));
  release();
  await eventually(async () => !(await users()).includes('ann'));
  for (const target of targets) {
    expect(await target.stop()).toBe(0);
    expect(target.output().stderr).not.toMatch(/X-Amz|Signature=/);
  }
  expect(await rowsByUser()).toEqual({ staying: 8 });
}, 60_000);

test('a server logs once that the service of a shared bucket does not check conditions', async () => {
  const bucket = setUp('ignored');
  await store(bucket.sinkOf('node_a'), 0, ['ann', 'ben', 'staying'], 'node_a');
  const target = await startServer(bucket, 'node_b');
  for (const user of ['ann', 'ben']) {
    await eraseOn(target, user);
    await eventually(async () => !(await bucket.users()).includes(user));
  }
  expect(await bucket.rowsByUser()).toEqual({ staying: 4 });
  expect(await target.stop()).toBe(0);
  const { stderr } = target.output();
  expect(stderr.split('does not support conditional writes')).toHaveLength(2);
}, 60_000);

test('an object that another server has changed since it was read is not deleted', async () => {
  const { server, store: bucket, sinkOf, isFor, prefix, objects, rowsByUser } = setUp();
  const sink = sinkOf('node-a');
  await store(sink, 0, ['leaving']);
  const arrived = server.arrivals(isFor('DELETE'), 1);
  const release = server.hang(isFor('DELETE'));
  const erasing = sink.erase(erasureOf('leaving'), NEVER);
  await Promise.race([arrived, erasing]);
  const [name = ''] = objects();
  const row = { ...{ seq: FIRST_SEQ, id: idOf(FIRST_SEQ), user_id: 'other', happened_at: 1, received_at: 1 } };
  await bucket.put(`${prefix}/${name}`, encodeParquet('metric', [{ ...row, name: 'm', label: '', value: 1 }]));
  release();
  await erasing;
  expect(await rowsByUser()).toEqual({ other: 1 });
});

test('a delivery that was given up and is executed late brings back no erased rows', async () => {
  const { server, sinkOf, isFor, rowsByUser } = setUp();
  const controller = new AbortController();
  const rows = records(ROWS, (seq, i) => metric(seq, { userId: i % 2 === 0 ? 'leaving' : 'staying' }));
  const block = { kind: 'metric', node: 'node-a', records: rows } as const;
  const arrived = server.arrivals(isFor('PUT'), 1);
  let puts = 0;
  const release = server.hang((request) => isFor('PUT')(request) && ++puts === 1);
  const delivery = sinkOf('node-a').deliver(block, controller.signal);
  await arrived;
  controller.abort(new Error('given up'));
  await expect(delivery).rejects.toThrow('given up');
  const restarted = sinkOf('node-a');
  await restarted.deliver(block, NEVER);
  await restarted.erase(erasureOf('leaving'), NEVER);
  const isExecuted = server.completions(isFor('PUT'), 1);
  release();
  await isExecuted;
  expect(await rowsByUser()).toEqual({ staying: 6 });
});

test('conflicts are retried, and an erasure that meets only conflicts stays pending', async () => {
  const { server, sinkOf, isFor, rowsByUser } = setUp();
  const sink = sinkOf('node-a');
  await store(sink, 0, ['leaving', 'staying']);
  server.fail(isFor('PUT'), { status: 409, code: 'ConditionalRequestConflict' }, Number.POSITIVE_INFINITY);
  const failed = await sink.erase(erasureOf('leaving'), NEVER).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(SinkUnavailableError);
  expect(String(failed)).toContain('Another server has changed the object');
  expect(String(failed)).not.toContain('X-Amz');
  expect(await rowsByUser()).toEqual({ leaving: 6, staying: 6 });
  server.fail(isFor('PUT'), { status: 409, code: 'ConditionalRequestConflict' }, 2);
  await sink.erase(erasureOf('leaving'), NEVER);
  expect(await rowsByUser()).toEqual({ staying: 6 });
});

for (const conditions of ['rejected', 'ignored'] as const) {
  test(`a service by which conditions are ${conditions} is used without them, and reported if servers share it`, async () => {
    const { sinkOf, objects, rowsByUser, warnings } = setUp(conditions);
    const sink = sinkOf('node-a');
    await store(sink, 0, ['leaving', 'staying']);
    await store(sink, 1, ['leaving']);
    await sink.erase(erasureOf('leaving'), NEVER);
    expect(await rowsByUser()).toEqual({ staying: 6 });
    expect(objects()).toHaveLength(1);
    expect(warnings).toEqual([]);
    await sinkOf('node-b').erase(erasureOf('staying'), NEVER);
    expect(objects()).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('does not support conditional writes')]);
  });
}

test('where deletions are unconditional, an object without rows is stored instead', async () => {
  const { sinkOf, objects, rowsByUser, warnings, server, isFor } = setUp('ignored for deletions');
  const sink = sinkOf('node-a');
  await store(sink, 0, ['leaving']);
  await store(sink, 1, ['staying']);
  const before = objects();
  await sink.erase(erasureOf('leaving'), NEVER);
  expect(objects()).toEqual(before);
  expect(await rowsByUser()).toEqual({ staying: 12 });
  expect(server.requests.filter(isFor('DELETE'))).toEqual([]);
  expect(warnings).toEqual([]);
  // the same rows can be delivered again, and be erased again
  await store(sinkOf('node-a'), 0, ['leaving']);
  expect(await rowsByUser()).toEqual({ leaving: 12, staying: 12 });
  await sinkOf('node-b').erase(erasureOf('leaving'), NEVER);
  expect(await rowsByUser()).toEqual({ staying: 12 });
  expect(existsSync(server.pathOf(`logs-${tests}/erasures/conditions-node-a`))).toBe(false);
});
