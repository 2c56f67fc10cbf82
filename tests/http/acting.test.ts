import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ANALYTICS, expectError, METRIC, post, rows } from '../harness/client.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Recording for other users, through X-Act-As-User-Id and through `user_id` in batch items.
 */

let target: Target;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, JWT_VIEWER_ROLES: 'analyst' });
});
afterAll(() => target.stop());

const ONLY_ADMINS = 'Only admin users can impersonate other users';

async function asAdmin(sub = 'root'): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await token({ sub, role: 'admin' })}` };
}

const userOf = (table: 'metrics' | 'analytics', id: string) => rows(target, table, id)[0]?.['user_id'];

describe('X-Act-As-User-Id', () => {
  test('records for the named user and trims whitespace around the ID', async () => {
    const { body: id } = await post(target, '/log_raw_metric', METRIC, {
      ...(await asAdmin()),
      'x-act-as-user-id': '  berta ',
    });
    expect(userOf('metrics', id)).toBe('berta');
  });

  test.each(['', '   '])('is ignored when blank (%p)', async (value) => {
    const { body: id, status } = await post(target, '/log_raw_metric', METRIC, { 'x-act-as-user-id': value });
    expect(status).toBe(200);
    expect(userOf('metrics', id)).toBe('user-1');
  });

  test.each([['authenticated'], ['Admin'], ['analyst'], [undefined], [['admin']], [true]])(
    'is rejected with 403 for the role %p',
    async (role) => {
      const response = await post(target, '/log_raw_metric', METRIC, {
        authorization: `Bearer ${await token({ role })}`,
        'x-act-as-user-id': 'berta',
      });
      expectError(response, 403, 'forbidden');
      expect(response.body.detail).toBe(ONLY_ADMINS);
    },
  );

  test('has its own message for viewers on every route, before the body is parsed, unless it is blank', async () => {
    const authorization = `Bearer ${await token({ role: 'analyst' })}`;
    for (const path of ['/log_raw_metric', '/log_raw_analytics', '/log_batch', '/api/analytics/log_raw_metric']) {
      const send = (header: object) => post(target, path, '{', { authorization, ...header });
      const acting = await send({ 'x-act-as-user-id': 'berta' });
      expectError(acting, 403, 'forbidden');
      expect(acting.body.detail).toBe(ONLY_ADMINS);
      for (const header of [{}, { 'x-act-as-user-id': ' ' }]) {
        const recording = await send(header);
        expectError(recording, 403, 'forbidden');
        expect(recording.body.detail).not.toBe(ONLY_ADMINS);
      }
    }
  });

  // the second column contains the bytes sent, one character per byte
  test.each([
    ['UTF-8', 'J\xc3\xbcrgen', 'Jürgen'],
    ['UTF-8 that is two letters in Latin-1', '\xc3\xa9', 'é'],
    ['UTF-8 of two letters that look like mojibake', '\xc3\x83\xc2\xa9', 'Ã©'],
    ['the replacement character', 'a\xef\xbf\xbdb', 'a\ufffdb'],
    ['a leading no-break space, which is part of the ID', '\xc2\xa0x', '\u00a0x'],
    ['a byte order mark', '\xef\xbb\xbfx', '\ufeffx'],
    ['an emoji', '\xf0\x9f\x98\x80', '😀'],
  ])('is decoded as %s', async (_name, bytes, user) => {
    const { status, id } = await actAs(bytes);
    expect(status).toBe(200);
    expect(userOf('metrics', id)).toBe(user);
  });

  test.each([
    ['Latin-1', 'J\xfcrgen'],
    ['a byte that never occurs in UTF-8', 'a\xff'],
    ['a truncated sequence', 'a\xc3'],
    ['an overlong form', '\xc0\xaf'],
    ['a surrogate', '\xed\xa0\x80'],
    ['a control character in UTF-8', '\xc2\x85'],
    ['more than 255 characters', 'x'.repeat(256)],
  ])('is rejected with 422 when its bytes are %s', async (_name, bytes) => {
    const count = rows(target, 'metrics').length;
    const { status, text } = await actAs(bytes);
    expect(status).toBe(422);
    expect(text).toContain('"loc":["header","x-act-as-user-id"]');
    expect(rows(target, 'metrics').length).toBe(count);
  });

  /** Sends the header as raw bytes, one per character. */
  async function actAs(bytes: string): Promise<{ status: number; id: string; text: string }> {
    const body = JSON.stringify(METRIC);
    const text = await rawRequest(
      target.url,
      [
        'POST /log_raw_metric HTTP/1.1',
        'Host: x',
        'Connection: close',
        `Authorization: ${(await asAdmin()).authorization}`,
        `X-Act-As-User-Id: ${bytes}`,
        `Content-Length: ${body.length}`,
        '',
        body,
      ],
      { encoding: 'latin1' },
    );
    return { status: Number(text.split(' ')[1]), id: /"([\w-]{36})"/.exec(text)?.[1] ?? '', text };
  }
});

describe('user_id in batch items', () => {
  test('records each item for its user in one batch', async () => {
    const { status, body } = await post(
      target,
      '/log_batch',
      {
        metrics: [{ ...METRIC, user_id: 'anna' }, METRIC],
        analytics: [
          { ...ANALYTICS, user_id: 'berta' },
          { ...ANALYTICS, user_id: 'anna' },
        ],
      },
      await asAdmin(),
    );
    expect(status).toBe(200);
    expect(body.metrics.map((id: string) => userOf('metrics', id))).toEqual(['anna', 'root']);
    expect(body.analytics.map((id: string) => userOf('analytics', id))).toEqual(['berta', 'anna']);
  });

  test('takes precedence over the header', async () => {
    const batch = { metrics: [{ ...METRIC, user_id: 'anna' }, METRIC] };
    const { body } = await post(target, '/log_batch', batch, { ...(await asAdmin()), 'x-act-as-user-id': 'berta' });
    expect(body.metrics.map((id: string) => userOf('metrics', id))).toEqual(['anna', 'berta']);
  });

  test('may name the caller for any role', async () => {
    const { status } = await post(target, '/log_batch', { metrics: [{ ...METRIC, user_id: 'user-1' }] });
    expect(status).toBe(200);
  });

  test.each([{}, { role: 'viewer' }])(
    'is rejected with 403 for the whole batch when the caller is not an admin (%o)',
    async (claims) => {
      const count = rows(target, 'metrics').length;
      const response = await post(
        target,
        '/log_batch',
        { metrics: [METRIC, { ...METRIC, user_id: 'anna' }], analytics: [ANALYTICS] },
        { authorization: `Bearer ${await token(claims)}` },
      );
      expectError(response, 403, 'forbidden');
      expect(response.body.detail).toBe(ONLY_ADMINS);
      expect(rows(target, 'metrics').length).toBe(count);
    },
  );

  test.each([[''], ['a\u0000b'], ['\ud800'], ['x'.repeat(256)], [7], [null], [['anna']]])(
    'is rejected with 422 when it is %p',
    async (user_id) => {
      const batch = { metrics: [METRIC], analytics: [{ ...ANALYTICS, user_id }] };
      const response = await post(target, '/log_batch', batch, await asAdmin());
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail[0].loc).toEqual(['body', 'analytics', 0, 'user_id']);
    },
  );

  test('is ignored by the single-record routes', async () => {
    for (const user_id of ['anna', 7]) {
      const { body: id } = await post(target, '/log_raw_metric', { ...METRIC, user_id });
      expect(userOf('metrics', id)).toBe('user-1');
    }
  });

  test("counts toward each user's limit of names", async () => {
    const limited = await startTarget({ ...UNLIMITED, MAX_NAMES_PER_USER: '1' });
    try {
      const item = (user_id: string, metric_name: string) => ({ ...METRIC, user_id, metric_name });
      const admin = await asAdmin();
      const send = (metrics: object[]) => post(limited, '/log_batch', { metrics }, admin);
      expect((await send([item('anna', 'a'), item('berta', 'b')])).status).toBe(200);
      const response = await send([item('clara', 'c'), item('anna', 'x'), item('berta', 'b'), item('berta', 'y')]);
      expectError(response, 422, 'too_many_names');
      expect(response.body.detail.map(({ loc }: { loc: unknown[] }) => loc)).toEqual([
        ['body', 'metrics', 1, 'metric_name'],
        ['body', 'metrics', 3, 'metric_name'],
      ]);
      // the names of the rejected batch were not counted
      expect((await send([item('clara', 'd')])).status).toBe(200);
    } finally {
      await limited.stop();
    }
  });
});

describe('effects of acting for another user', () => {
  test("does not use up the named user's rate limit", async () => {
    const limited = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '10/h', MAX_BATCH_ITEMS: '10' });
    try {
      const batch = { metrics: Array(10).fill(METRIC) };
      const rootHeaders = await asAdmin();
      const forBerta = { ...rootHeaders, 'x-act-as-user-id': 'berta' };
      const inItems = { metrics: Array(10).fill({ ...METRIC, user_id: 'clara' }) };
      expect((await post(limited, '/log_batch', batch, forBerta)).status).toBe(200);
      expectError(await post(limited, '/log_raw_metric', METRIC, forBerta), 429, 'rate_limited');
      expect((await post(limited, '/log_batch', inItems, rootHeaders)).status).toBe(200);
      expectError(await post(limited, '/log_batch', inItems, rootHeaders), 429, 'rate_limited');
      // the users themselves, the admin and other admins still have their limits
      for (const sub of ['berta', 'clara']) {
        const headers = { authorization: `Bearer ${await token({ sub })}` };
        expect((await post(limited, '/log_batch', batch, headers)).status).toBe(200);
      }
      expect((await post(limited, '/log_batch', batch, rootHeaders)).status).toBe(200);
      const other = { ...(await asAdmin('root-2')), 'x-act-as-user-id': 'berta' };
      expect((await post(limited, '/log_batch', batch, other)).status).toBe(200);
      // one user over the limit rejects the whole batch, without using up the limits of the others
      const mixed = {
        metrics: [
          { ...METRIC, user_id: 'dora' },
          { ...METRIC, user_id: 'clara' },
        ],
      };
      expectError(await post(limited, '/log_batch', mixed, rootHeaders), 429, 'rate_limited');
      const dora = { metrics: Array(10).fill({ ...METRIC, user_id: 'dora' }) };
      expect((await post(limited, '/log_batch', dora, rootHeaders)).status).toBe(200);
    } finally {
      await limited.stop();
    }
  });

  test('logs once per admin and minute, without the user ID, and counts every use in the metrics', async () => {
    const quiet = await startTarget({ ...UNLIMITED, METRICS_TOKEN: 'a-token-for-scrapers' });
    try {
      const secretive = { ...(await asAdmin('root')), 'x-act-as-user-id': 'user-never-logged' };
      for (let i = 0; i < 5; i++) await post(quiet, '/log_raw_metric', METRIC, secretive);
      const batch = { metrics: [{ ...METRIC, user_id: 'user-never-logged' }] };
      const byOther = await post(quiet, '/log_batch', batch, await asAdmin('root-2'));
      await quiet.logged(({ request_id }) => request_id === byOther.headers.get('x-request-id'));
      const metrics = await fetch(`${quiet.url}/metrics`, {
        headers: { authorization: 'Bearer a-token-for-scrapers' },
      });
      expect(await metrics.text()).toMatch(/^rawlog_act_as_total 6$/m);
    } finally {
      await quiet.stop();
    }
    const lines = quiet.logLines().filter(({ msg }) => msg === 'admin is recording for another user');
    expect(lines.map(({ uses }) => uses)).toEqual([1, 1]);
    for (const { admin_hash } of lines) expect(admin_hash).toMatch(/^[\da-f]{16}$/);
    expect(lines[1]?.['admin_hash']).not.toBe(lines[0]?.['admin_hash']);
    expect(lines[0]?.['user_hash']).toMatch(/^[\da-f]{16}$/);
    expect(lines[1]?.['user_hash']).toBe(lines[0]?.['user_hash']);
    expect(quiet.output().stderr).not.toMatch(/user-never-logged|root-2/);
  });
});
