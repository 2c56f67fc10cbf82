import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHmac } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let folder: ReturnType<typeof temporaryFolder>;
let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  folder = temporaryFolder();
  target = await startTarget({ ...UNLIMITED, JWT_VIEWER_ROLES: 'viewer' }, { dataDir: join(folder.path, 'data') });
  admin = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

type Entry = Record<string, unknown>;
interface Page {
  readonly entries: Entry[];
  readonly next_cursor: string | null;
}

const logPath = () => `${target.databasePath}.audit`;
const lines = (): Entry[] =>
  readFileSync(logPath(), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

async function read(query = '', headers = admin): Promise<Page> {
  const { status, body } = await send(`${target.url}/api/audit${query}`, { headers });
  expect(status).toBe(200);
  return body;
}

/** Hashes a text as docs/api.md describes, without the code under test. */
function hash(text: string): string {
  const key = Buffer.from(readFileSync(join(target.dataDir, 'erasure-key'), 'utf8'), 'base64url');
  return createHmac('sha256', key).update(text).digest('base64url');
}

const remove = (path: string) => send(target.url + path, { method: 'DELETE', headers: admin });
const run = (...args: string[]) =>
  runCli(args, { env: { DATA_DIR: target.dataDir, JWT_SECRET: UNLIMITED.JWT_SECRET } });

test('only admins read the log, which is empty at first', async () => {
  expect(await read()).toEqual({ entries: [], next_cursor: null });
  expect(existsSync(logPath())).toBe(false);
  expect(await run('audit', '--user-id', 'ada')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  for (const role of ['viewer', 'authenticated']) {
    const headers = { authorization: `Bearer ${await token({ role })}` };
    expect((await send(`${target.url}/api/audit`, { headers })).status).toBe(403);
  }
});

test('an erasure has an entry before and one after it, without IDs', async () => {
  const headers = { authorization: `Bearer ${await token({ sub: 'audited-user' })}` };
  await post(target, '/log_raw_metric', METRIC, headers);
  const { body, headers: responseHeaders } = await remove('/api/users/audited-user');
  expect(body.deleted).toEqual({ metrics: 1, analytics: 0 });
  const common = {
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    ...{ action: 'erase', via: 'api', actor: hash('root'), user: hash('audited-user') },
    request_id: responseHeaders.get('x-request-id'),
  };
  expect(lines()).toEqual([
    { ...common, phase: 'begun' },
    { ...common, phase: 'finished', deleted: { metrics: 1, analytics: 0 } },
  ]);
  expect(readFileSync(logPath(), 'utf8')).not.toContain('audited-user');
  expect(statSync(logPath()).mode & 0o777).toBe(0o600);
  expect((await read()).entries).toEqual(lines().reverse());
});

test('the entries about a user survive the erasure of the user and of the admin', async () => {
  await remove('/api/users/audited-user');
  await remove('/api/users/root');
  const before = (await read('?user_id=audited-user')).entries;
  expect(before.map(({ phase }) => phase)).toEqual(['finished', 'begun', 'finished', 'begun']);
  const { stdout } = await run('audit', '--user-id', 'audited-user');
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(before);
  expect((await read('?user_id=nobody')).entries).toEqual([]);
  expect((await read('?user_id=root')).entries.length).toBe(lines().length);
});

test('an erasure by a command has no admin, whether the server runs or not', async () => {
  expect((await run('erase', 'by-command')).exitCode).toBe(0);
  expect((await read('?user_id=by-command')).entries).toMatchObject([
    { phase: 'finished', via: 'command', actor: null },
    { phase: 'begun', via: 'command', actor: null },
  ]);
  const dataDir = join(folder.path, 'offline');
  await (await startTarget(UNLIMITED, { dataDir })).stop();
  const env = { DATA_DIR: dataDir };
  expect((await runCli(['erase', 'offline'], { env })).exitCode).toBe(0);
  const { stdout } = await runCli(['audit', '--user-id', 'offline'], { env });
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).phase),
  ).toEqual(['finished', 'begun']);
});

test('a deletion is recorded without its name, and a dry run is not', async () => {
  const before = lines().length;
  const filter = 'name=secret_name&from=2026-01-01T00:00:00Z&data_string=x&user_id=some-user';
  await remove(`/api/records/metrics?${filter}&dry_run=true`);
  expect(lines().length).toBe(before);
  await remove(`/api/records/metrics?${filter}`);
  await remove('/api/records/analytics?type=secret_name');
  const common = { action: 'delete', actor: hash('root'), phase: 'finished' };
  expect(
    lines()
      .slice(before)
      .filter(({ phase }) => phase === 'finished'),
  ).toMatchObject([
    {
      ...{ ...common, kind: 'metrics', name: hash('\0metric\0secret_name'), user: hash('some-user') },
      ...{ from: '2026-01-01T00:00:00Z', to: null, has_conditions: true, deleted: { metrics: 0 } },
    },
    {
      ...{ ...common, kind: 'analytics', name: hash('\0analytics\0secret_name') },
      ...{ from: null, to: null, has_conditions: false, deleted: { analytics: 0 } },
    },
  ]);
  expect(readFileSync(logPath(), 'utf8')).not.toMatch(/secret_name|some-user/);
});

test('recordings for other users are recorded once per admin and user', async () => {
  const metrics = ['acted-1', 'acted-2', 'acted-1'].map((user_id) => ({ ...METRIC, user_id }));
  await post(target, '/log_batch', { metrics, analytics: [] }, admin);
  await post(target, '/log_raw_metric', METRIC, { ...admin, 'x-act-as-user-id': 'acted-1' });
  const found = async () => (await read('?user_id=acted-1')).entries;
  while ((await found()).length === 0) {
    // waits until it is written
  }
  expect(await found()).toEqual([
    { at: expect.any(String), action: 'act-as', actor: hash('root'), users: [hash('acted-1'), hash('acted-2')] },
  ]);
  const other = { authorization: `Bearer ${await token({ sub: 'other-admin', role: 'admin' })}` };
  await post(target, '/log_raw_metric', METRIC, { ...other, 'x-act-as-user-id': 'acted-1' });
  while ((await found()).length === 1) {
    // waits until it is written
  }
  expect((await found())[0]).toMatchObject({ actor: hash('other-admin'), users: [hash('acted-1')] });
});

test('uses that are not written yet are written when the server stops', async () => {
  const dataDir = join(folder.path, 'stopping');
  const stopping = await startTarget(UNLIMITED, { dataDir });
  const users = Array.from({ length: 1_000 }, (_, i) => ({ ...METRIC, user_id: `user-${i}` }));
  await post(stopping, '/log_batch', { metrics: users, analytics: [] }, admin);
  await post(stopping, '/log_raw_metric', METRIC, { ...admin, 'x-act-as-user-id': 'last' });
  await stopping.stop();
  const { stdout } = await runCli(['audit'], { env: { DATA_DIR: dataDir } });
  const written = stdout
    .trim()
    .split('\n')
    .flatMap((line) => JSON.parse(line).users);
  expect(new Set(written).size).toBe(1_001);
});

test('pages through the log', async () => {
  const all = lines().reverse();
  const found: Entry[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: Page = await read(`?limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`);
    expect(page.entries.length).toBeLessThanOrEqual(3);
    found.push(...page.entries);
    cursor = page.next_cursor;
  }
  expect(found).toEqual(all);
});

describe('a damaged log', () => {
  test('an incomplete line is skipped, and the next entry begins a new one', async () => {
    const before = (await read()).entries;
    appendFileSync(logPath(), '{"at":"2026');
    expect((await read()).entries).toEqual(before);
    await remove('/api/users/nobody');
    expect((await read()).entries.slice(2)).toEqual(before);
    appendFileSync(logPath(), '\n\n[]\n"x"\n');
    expect((await read('?limit=1')).entries).toHaveLength(1);
  });

  test('nothing is erased if the entry cannot be written', async () => {
    const headers = { authorization: `Bearer ${await token({ sub: 'kept' })}` };
    await post(target, '/log_raw_metric', METRIC, headers);
    rmSync(logPath());
    mkdirSync(logPath());
    const { status, body } = await remove('/api/users/kept');
    expect({ status, code: body.code }).toEqual({ status: 503, code: 'storage_unavailable' });
    expect(await run('erase', 'kept')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('.audit') });
    rmSync(logPath(), { recursive: true });
    const { body: page } = await send(`${target.url}/api/records/metrics?user_id=kept`, { headers });
    expect(page.records).toHaveLength(1);
    expect((await remove('/api/users/kept')).body.deleted).toEqual({ metrics: 1, analytics: 0 });
  });
});
