import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStorage } from '../../src/storage/database.ts';
import { seqOfId } from '../../src/storage/record-id.ts';
import { formOf } from '../../src/storage/row-form.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { type HttpResponse, post, send } from '../harness/client.ts';
import { NOTHING } from '../harness/commit.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  admin = await bearer({ sub: 'root', role: 'admin' });
  target = await startTarget(UNLIMITED, { dataDir: join(folder.path, 'data') });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });
const get = (path: string, headers = admin): Promise<HttpResponse> => send(target.url + path, { headers });
const erase = (user: string, headers = admin): Promise<HttpResponse> =>
  send(`${target.url}/api/users/${encodeURIComponent(user)}`, { method: 'DELETE', headers });
/** Records as a user, with that user's token. */
const recordFor = async (user: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  post(target, path, body, { ...(await bearerOf(user)), ...headers });
const bearers = new Map<string, Promise<Record<string, string>>>();
function bearerOf(user: string): Promise<Record<string, string>> {
  const known = bearers.get(user) ?? bearer({ sub: user });
  bearers.set(user, known);
  return known;
}

/** Occurs in every string of the erased user, and nowhere else. */
const MARK = 'qZmArK7';
const MARKED = `${MARK}/user ü🦀'";--`;
/** A value whose eight bytes, or parts of them, occur in no other user's data. */
const MARKED_VALUE = Buffer.from('c1fa57e9d3b7a9c5', 'hex').readDoubleBE();

/** Returns a deterministic random number generator. */
function generator(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return Number(((state >> 33n) * BigInt(below)) >> 31n);
  };
}

/**
 * Returns a batch of metrics and events. Names and labels are unique to the user or shared by all users; strings vary
 * in length, up to several database pages.
 */
function batchOf(mark: string, size: number, random: (below: number) => number) {
  const padding = () => '.'.repeat(random(10) === 0 ? random(6000) : random(200));
  const unique = (text: string) => (random(3) === 0 ? text : `${mark} ${text} ${random(1e6)}${padding()}`);
  const value = mark === MARK ? MARKED_VALUE : random(1e6);
  return {
    metrics: Array.from({ length: size }, () => ({
      metric_name: random(50) === 0 ? `${mark} metric ${random(20)}` : 'shared metric',
      metric_value: value,
      data_string: unique('shared label'),
      timestamp: new Date(Date.UTC(2026, 0, 1 + random(28))).toISOString(),
    })),
    analytics: Array.from({ length: size }, () => ({
      type: random(50) === 0 ? `${mark} type ${random(20)}` : 'shared type',
      data_index: unique('shared step'),
      data: { text: unique('data'), [unique('key')]: value },
    })),
  };
}

/** Returns the names of the files in a data folder, without the folder of the control socket. */
function filesIn(path: string): string[] {
  return readdirSync(path).filter((name) => name !== 'control');
}

/** Searches every byte of every database file; returns each match with its surroundings. */
function findTraces(path: string, wanted: readonly Buffer[], files = filesIn(path)): string[] {
  return files.flatMap((file) => {
    const bytes = readFileSync(join(path, file));
    return wanted.flatMap((pattern) => {
      const at = bytes.indexOf(pattern);
      return at < 0 ? [] : [`${file}: ${JSON.stringify(bytes.toString('latin1', Math.max(0, at - 20), at + 60))}`];
    });
  });
}

/** Returns the random part of an ID, which a row stores of it. */
const randomPartOf = (id: string) => formOf({ seq: seqOfId(id), id, happenedAt: 0, receivedAt: 0 }).id;

/** Returns which of some texts of the same length occur anywhere in the files. */
function findTexts(path: string, texts: readonly string[]): Set<string> {
  const wanted = new Set(texts);
  const length = texts[0]?.length ?? 0;
  const found = new Set<string>();
  for (const file of filesIn(path)) {
    const bytes = readFileSync(join(path, file)).toString('latin1');
    for (let at = 0; at + length <= bytes.length; at++) {
      const text = bytes.slice(at, at + length);
      if (wanted.has(text)) found.add(text);
    }
  }
  return found;
}

/** Returns how many of some records have left the whole ID, and how many the random part, anywhere in the files. */
function countIds(path: string, ids: readonly string[]): { whole: number; random: number } {
  return { whole: findTexts(path, ids).size, random: findTexts(path, ids.map(randomPartOf)).size };
}

/** Returns a number as it is stored in rows (big-endian) and in the column store (little-endian). */
const bytesOf = (value: number) => {
  const [big, little] = [Buffer.alloc(8), Buffer.alloc(8)];
  big.writeDoubleBE(value);
  little.writeDoubleLE(value);
  return [big, little];
};

/** Returns the query results of the given users. */
async function resultsOf(others: readonly string[]): Promise<string[]> {
  const paths = others.flatMap((user) => {
    const scope = `user_id=${encodeURIComponent(user)}`;
    return [
      `/api/metrics?${scope}`,
      `/api/analytics?${scope}`,
      `/api/metrics/series?name=shared%20metric&interval=day&group_by=data_string&${scope}`,
      `/api/analytics/counts?type=shared%20type&interval=hour&group_by=data_index&top=50&${scope}`,
      `/api/analytics/funnel?type=shared%20type&step=shared%20step&step=shared%20step&${scope}`,
      `/api/analytics/retention?type=shared%20type&step=shared%20step&${scope}`,
      `/api/activity?interval=hour&${scope}`,
      `/api/records/metrics?limit=1000&${scope}`,
      `/api/export/analytics?${scope}`,
    ];
  });
  const responses = await Promise.all(paths.map((path) => get(path)));
  for (const response of responses) expect(response.status).toBe(200);
  return responses.map(({ text }) => text);
}

test("erases every byte of a user's data from the files and leaves other users' data unchanged", async () => {
  const random = generator(5);
  const others = ['other 0', 'other 1', 'other 2'];
  const ids: string[] = [];
  let metrics = 0;
  let analytics = 0;
  for (let i = 0; i < 60; i++) {
    const marked = i % 3 === 1;
    // another user is erased first, so that some rows have already moved within the file
    const user = marked ? MARKED : i % 3 === 2 ? 'erased first' : (others[random(3)] as string);
    const body = batchOf(marked ? MARK : 'someone', 10 + random(120), random);
    // one key per batch, then one key per row
    const response = await recordFor(user, '/log_batch', body, {
      'idempotency-key': `${marked ? MARK : 'key'}-batch-${i}`,
    });
    expect(response.status).toBe(200);
    const few = await Promise.all(
      Array.from({ length: 25 }, (_, k) =>
        recordFor(user, '/log_raw_metric', body.metrics[0], {
          'idempotency-key': `${marked ? MARK : 'key'}-${random(1e9)}-${k}`,
        }),
      ),
    );
    if (marked) {
      ids.push(...response.body.metrics, ...response.body.analytics, ...few.map(({ body: id }) => id));
      metrics += body.metrics.length + 25;
      analytics += body.analytics.length;
    }
    if (i % 20 === 10) await resultsOf([MARKED]);
  }
  const wanted = [Buffer.from(MARK), Buffer.from(MARKED), ...bytesOf(MARKED_VALUE)];
  expect(findTraces(target.dataDir, [Buffer.from(MARK)])).not.toEqual([]);
  expect(findTraces(target.dataDir, bytesOf(MARKED_VALUE).slice(0, 1))).not.toEqual([]);
  // whole IDs are in cached responses, and some of them in two pieces
  const present = countIds(target.dataDir, ids);
  expect(present).toEqual({ whole: expect.any(Number), random: ids.length });
  expect(present.whole).toBeGreaterThan(0.9 * ids.length);
  const before = await resultsOf(others);
  expect((await get('/api/metrics')).text).toContain(MARK);

  expect((await erase('erased first')).status).toBe(200);
  const erased = await erase(MARKED);
  expect(erased.body).toEqual({ user_id: MARKED, deleted: { metrics, analytics } });

  expect(findTraces(target.dataDir, wanted)).toEqual([]);
  expect(countIds(target.dataDir, ids)).toEqual({ whole: 0, random: 0 });
  const copy = join(folder.path, 'copy');
  const other = new Database(target.databasePath, { readonly: true });
  other.run(`VACUUM INTO '${copy}'`);
  other.close();
  expect(findTraces(folder.path, wanted, ['copy'])).toEqual([]);

  expect(await resultsOf(others)).toEqual(before);
  for (const path of ['/api/metrics', '/api/analytics', '/api/export/metrics', '/api/export/analytics']) {
    expect((await get(path)).text).not.toContain(MARK);
  }
  expect((await get(`/api/metrics?user_id=${encodeURIComponent(MARKED)}`)).body).toEqual({ metrics: [] });

  const again = await erase(MARKED);
  expect(again.status).toBe(200);
  expect(again.body).toEqual({ user_id: MARKED, deleted: { metrics: 0, analytics: 0 } });
  expect(await resultsOf(others)).toEqual(before);
}, 300_000); // the query worker has the lowest priority: on a busy machine it waits for everything else

test('deletes every byte of records by name and by label, and leaves other records unchanged', async () => {
  const random = generator(8);
  const value = Buffer.from('c1fa57e9d3b7a9c6', 'hex').readDoubleBE();
  const mark = 'qZdEl9';
  const ids: string[] = [];
  const user = 'of deleted records';
  let names = 0;
  for (let i = 0; i < 30; i++) {
    const { metrics, analytics } = batchOf('someone', 10 + random(120), random);
    const padding = () => '.'.repeat(random(10) === 0 ? random(6000) : random(200));
    const marked = {
      // a name of its own, and labels of a shared name
      metrics: metrics.map((metric, k) =>
        k % 2 === 0
          ? { ...metric, metric_value: value, metric_name: `${mark} metric` }
          : { ...metric, metric_value: value, data_string: `${mark} ${random(1e6)}${padding()}` },
      ),
      analytics: analytics.map((event, k) => ({
        ...event,
        data_index: k % 2 === 0 ? event.data_index : `${mark} ${random(100)}`,
        data: { [`${mark}${padding()}`]: mark, plan: mark, value },
      })),
    };
    names += marked.metrics.filter(({ metric_name }) => metric_name.startsWith(mark)).length;
    const response = await recordFor(user, '/log_batch', marked);
    expect(response.status).toBe(200);
    ids.push(...response.body.metrics, ...response.body.analytics);
    expect((await recordFor('other 0', '/log_batch', { metrics, analytics })).status).toBe(200);
    if (i % 10 === 5) await resultsOf(['other 0']);
  }
  expect(countIds(target.dataDir, ids).random).toBe(ids.length);
  const wanted = [Buffer.from(mark), ...bytesOf(value)];
  for (const pattern of wanted.slice(0, 2)) expect(findTraces(target.dataDir, [pattern])).not.toEqual([]);
  const before = await resultsOf(['other 0', 'other 1']);
  const remove = async (path: string) =>
    (await send(`${target.url}/api/records/${path}`, { method: 'DELETE', headers: admin })).body.deleted;
  expect(await remove(`metrics?name=${mark}%20metric`)).toEqual({ metrics: names });
  const { body } = await get(`/api/metrics?user_id=${encodeURIComponent(user)}`);
  const others = body.metrics.map(({ name }: { name: string }) => name);
  for (const name of others) await remove(`metrics?name=${encodeURIComponent(name)}&data_string~=${mark}`);
  const types = (await get(`/api/analytics?user_id=${encodeURIComponent(user)}`)).body.types;
  for (const { type } of types) await remove(`analytics?type=${encodeURIComponent(type)}&data.plan=${mark}`);
  expect(findTraces(target.dataDir, wanted)).toEqual([]);
  expect(countIds(target.dataDir, ids)).toEqual({ whole: 0, random: 0 });
  expect(await resultsOf(['other 0', 'other 1'])).toEqual(before);
}, 300_000); // the query worker has the lowest priority: on a busy machine it waits for everything else

test.each([
  ['none', 0],
  ['most', 20],
] as const)('erases idempotency keys when %s of them had expired', async (name, expired) => {
  const dataDir = join(folder.path, `keys-${name}`);
  const storage = openStorage(join(dataDir, 'rawlog.db'));
  const writer = createWriter(storage);
  const random = generator(6);
  for (let i = 0; i < 40; i++) {
    const responses = Array.from({ length: 100 }, (_, k) => ({
      userId: k % 2 === 0 ? MARKED : `someone ${random(1000)}`,
      route: '/log_raw_metric',
      key: `${k % 2 === 0 ? MARK : 'key'}-${random(1e9)}-${i}-${k}`,
      fingerprint: 'f'.repeat(44),
      response: `"${k}"`,
      seq: 0,
      createdAt: i < 2 * expired - 2 ? 1 : 1e15 + random(1e9),
    }));
    await writer.commit({ ...NOTHING, responses });
  }
  expect(writer.expireResponses(2, 1e6) > 3500).toBe(expired > 0);
  storage.close();
  expect(findTraces(dataDir, [Buffer.from(MARK)])).not.toEqual([]);
  await withServer(dataDir, async (eraseThere) => {
    expect(await eraseThere(MARKED)).toEqual({ metrics: 0, analytics: 0 });
    expect(findTraces(dataDir, [Buffer.from(MARK)])).toEqual([]);
  });
});

/*
 * A database page holds about 40 of these rows. When a page loses most of them, SQLite merges it with its neighbors
 * and leaves stale copies in place, whether or not it frees a page.
 */
test('erases users whose rows come in runs of any length, one after the other', async () => {
  const dataDir = join(folder.path, 'runs');
  const storage = openStorage(join(dataDir, 'rawlog.db'));
  const writer = createWriter(storage);
  const marked = [5, 12, 20, 26, 30, 33, 36, 40, 60, 90].map((run) => ({ run, user: `${MARK}-in-runs-of-${run}-` }));
  let seq = 1e12;
  for (let round = 0; round < 12; round++) {
    for (const { run, user } of marked) {
      const between = 20 + ((round * 7 + run) % 60);
      const records = Array.from({ length: run + between }, (_, i) => {
        const userId = i < run ? user : 'someone';
        const stamp = {
          seq: ++seq,
          id: `id-of-36-characters-for-${userId.slice(-9)}`,
          userId,
          happenedAt: 1e15,
          receivedAt: 1e15,
        };
        return { kind: 'metric', ...stamp, metricName: 'm', metricValue: i + 0.5, dataString: '/dashboard' } as const;
      });
      await writer.commit({ ...NOTHING, records });
    }
  }
  storage.close();
  await withServer(dataDir, async (eraseThere) => {
    for (const { run, user } of marked) {
      expect(findTraces(dataDir, [Buffer.from(user)])).not.toEqual([]);
      expect(await eraseThere(user)).toEqual({ metrics: 12 * run, analytics: 0 });
      expect(findTraces(dataDir, [Buffer.from(user)])).toEqual([]);
    }
    expect(findTraces(dataDir, [Buffer.from(MARK)])).toEqual([]);
  });
});

test('erases users whose imported rows are in random order', async () => {
  const dataDir = join(folder.path, 'imported');
  const random = generator(7);
  const users = Array.from({ length: 20 }, (_, i) => `${MARK}-imported-${i}-`);
  const lines = Array.from({ length: 40_000 }, (_, i) => {
    const time = Date.UTC(2026, 0, 1) + i;
    const hex = time.toString(16).padStart(12, '0');
    return JSON.stringify({
      id: `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`,
      user_id: users[random(20)],
      timestamp: '2026-01-01T00:00:00Z',
      received_at: new Date(time).toISOString(),
      metric_name: 'm',
      metric_value: i,
      data_string: '/dashboard',
    });
  });
  const shuffled = lines.map((line) => ({ line, place: random(1e9) })).sort((a, b) => a.place - b.place);
  const file = join(folder.path, 'shuffled.ndjson');
  writeFileSync(file, shuffled.map(({ line }) => `${line}\n`).join(''));
  const imported = await runCli(['import', file], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
  expect(imported).toMatchObject({ exitCode: 0, stdout: 'Imported 40000 records; 0 already stored.\n' });
  expect(statSync(join(dataDir, 'rawlog.db')).size).toBeGreaterThan(2 * 1024 ** 2); // a smaller file would be rewritten as a whole
  await withServer(dataDir, async (eraseThere) => {
    for (const user of users.slice(0, 8)) {
      expect(findTraces(dataDir, [Buffer.from(user)])).not.toEqual([]);
      expect(await eraseThere(user)).toMatchObject({ analytics: 0 });
      expect(findTraces(dataDir, [Buffer.from(user)])).toEqual([]);
    }
  });
});

/** Starts another server on a data folder and passes `work` a function that erases a user there. */
async function withServer(dataDir: string, work: (erase: (user: string) => Promise<unknown>) => Promise<void>) {
  const started = await startTarget(UNLIMITED, { dataDir });
  expect(started.databasePath).toBe(join(dataDir, 'rawlog.db'));
  await work(async (user) => {
    const path = `${started.url}/api/users/${encodeURIComponent(user)}`;
    return (await send(path, { method: 'DELETE', headers: admin })).body.deleted;
  });
  expect(await started.stop()).toBe(0);
}
