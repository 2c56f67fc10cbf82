import { describe, expect, test } from 'bun:test';
import { expectError, post, send } from '../harness/client.ts';
import { bearer, load, type Query, setUpSeededServer, step } from '../harness/seeded-server.ts';
import { startTarget, UNLIMITED } from '../harness/target.ts';

const { get, getAsAdmin, record } = setUpSeededServer();

describe('records', () => {
  test('returns complete records, newest first', async () => {
    const { body } = await get('anna', '/api/records/analytics', { limit: '2' });
    const stamps = { id: expect.stringMatching(/^[0-9a-f-]{36}$/), user_id: 'anna', received_at: expect.any(String) };
    expect(body.records).toEqual([
      { ...stamps, timestamp: '2026-03-05T00:00:00Z', type: 'click', data_index: '', data: { x: 1 } },
      {
        ...stamps,
        timestamp: '2026-03-02T10:00:00Z',
        type: 'tutorial',
        data_index: 'three',
        data: { at: '2026-03-02T10:00:00Z', n: 1 },
      },
    ]);
    expect(body.next_cursor).toBeString();
    const metrics = await get('berta', '/api/records/metrics');
    expect(metrics.body).toEqual({
      records: [
        {
          ...stamps,
          user_id: 'berta',
          timestamp: '2026-03-29T10:00:00Z',
          metric_name: 'load',
          metric_value: 100,
          data_string: '/b',
        },
      ],
      next_cursor: null,
    });
  });

  test('returns only records that match every filter', async () => {
    const values = async (query: Query) =>
      (await getAsAdmin('/api/records/metrics', query)).body.records.map(
        ({ metric_value }: { metric_value: number }) => metric_value,
      );
    expect(await values({ name: 'load' })).toEqual([100, 16, 8, 4, 2, 1]);
    expect(await values({ data_string: '/a' })).toEqual([16, 4]);
    expect(await values({ name: 'load', data_string: '/a', to: '2026-03-31T00:00:00+02:00' })).toEqual([4]);
    expect(await values({ user_id: 'berta' })).toEqual([100]);
    expect(await values({ user_id: 'berta', name: 'other' })).toEqual([]);
    expect(await values({ from: '2026-03-29T00:00:00Z', to: '2026-03-29T12:00:00Z' })).toEqual([100, 4, 2]);
    // parameters of the other kind
    expectError(await getAsAdmin('/api/records/metrics', { type: 'tutorial' }), 422, 'validation_failed');
    expectError(await getAsAdmin('/api/records/analytics', { data_string: 'a' }), 422, 'validation_failed');
  });

  test('keeps the digits of numbers in data', async () => {
    const data = '{"n":12345678901234567890.10,"m":1e400}';
    await record('digits', '/log_raw_analytics', `{"type":"t","data_index":"","data":${data}}`);
    expect((await get('digits', '/api/records/analytics')).text).toContain(data);
    expect((await get('digits', '/api/export/analytics')).text).toContain(data);
  });

  test.each(['metrics', 'analytics'])(
    'returns each of the %s on exactly one page, even while more are recorded',
    async (kind) => {
      const user = `pages of ${kind}`;
      const batch = (from: number, size: number) => ({
        metrics: Array.from({ length: size }, (_, i) => load(from + i, '2026-01-01T00:00:00Z')),
        analytics: Array.from({ length: size }, (_, i) => step(`${from + i}`, '2026-01-01T00:00:00Z')),
      });
      await record(user, '/log_batch', batch(0, 250));
      for (const limit of [1, 7, 50, 100, 1000]) {
        // with one record per page, reading to the end would take too many requests
        const first = limit === 1 ? 20 : Number.POSITIVE_INFINITY;
        const before = (await get(user, `/api/records/${kind}`, { limit: '1000' })).body.records;
        const seen: unknown[] = [];
        let cursor: string | null = null;
        do {
          const query: Query = { limit: String(limit), ...(cursor !== null && { cursor }) };
          const { body } = await get(user, `/api/records/${kind}`, query);
          expect(body.records.length).toBeLessThanOrEqual(limit);
          seen.push(...body.records);
          cursor = body.next_cursor;
          await Promise.all([
            record(user, '/log_batch', batch(1000, 1)),
            record('another', '/log_batch', batch(1000, 3)),
          ]);
        } while (cursor !== null && seen.length < first);
        expect(seen).toEqual(before.slice(0, first));
      }
    },
  );
});

describe('a page ends early', () => {
  test('before its JSON exceeds 8 MB, escapes included', async () => {
    // six bytes of JSON per byte of text, and two per quotation mark
    const label = '\u0001'.repeat(8_000);
    const metrics = Array.from({ length: 20 }, (_, i) => load(i, '2026-01-01T00:00:00Z', label));
    const analytics = Array.from({ length: 20 }, () => step('"'.repeat(8_000), '2026-01-01T00:00:00Z'));
    for (let i = 0; i < 10; i++) {
      for (const batch of [{ metrics }, { analytics }]) {
        expect((await record('escapes', '/log_batch', batch)).status).toBe(200);
      }
    }
    for (const [kind, pages] of [
      ['metrics', 2],
      ['analytics', 1],
    ] as const) {
      const whole = (await get('escapes', `/api/export/${kind}`)).text.trimEnd().split('\n').reverse();
      const seen: unknown[] = [];
      let found = 0;
      for (let cursor: string | null = ''; cursor !== null; found++) {
        const query: Query = { limit: '1000', ...(cursor && { cursor }) };
        const { text, body } = await get('escapes', `/api/records/${kind}`, query);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(8 * 1024 ** 2);
        seen.push(...body.records);
        cursor = body.next_cursor;
        if (cursor !== null) expect(Buffer.byteLength(text)).toBeGreaterThan(8 * 1024 ** 2 - 50_000);
      }
      expect(found).toBe(pages);
      expect(seen.length).toBe(200);
      expect(seen.every((row, i) => Bun.deepEquals(row, JSON.parse(whole[i] ?? '')))).toBe(true);
    }
  });

  test('before it exceeds MAX_RESULT_BYTES, and a record that does so alone is rejected', async () => {
    const small = await startTarget({ ...UNLIMITED, MAX_RESULT_BYTES: '3000' });
    try {
      const headers = await bearer({ sub: 'anna' });
      const page = (query: string) => send(`${small.url}/api/records/analytics?${query}`, { headers });
      const event = (n: number, bytes: number, timestamp: string) => ({
        ...{ type: 't', data_index: '', timestamp, data: { n, text: 'é'.repeat(bytes / 2) } },
      });
      const events = Array.from({ length: 20 }, (_, n) => event(n, 100 * (n % 9), '2026-01-01T00:00:00Z'));
      expect((await post(small, '/log_batch', { analytics: events }, headers)).status).toBe(200);
      const seen: number[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const { text, body } = await page(cursor && `cursor=${cursor}`);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(3_000);
        seen.push(...body.records.map(({ data }: { data: { n: number } }) => data.n));
        cursor = body.next_cursor;
      }
      expect(seen).toEqual(events.map(({ data }) => data.n).reverse());
      expect(
        (await post(small, '/log_batch', { analytics: [event(20, 3_000, '2026-01-02T00:00:00Z')] }, headers)).status,
      ).toBe(200);
      const rejected = await page('');
      expectError(rejected, 422, 'query_too_large');
      expect(rejected.body.detail).toMatchObject([{ msg: 'Value error, a record is larger than 3000 bytes' }]);
      expect((await page('to=2026-01-02T00:00:00Z')).status).toBe(200);
    } finally {
      await small.stop();
    }
  });
});

describe('the next query', () => {
  const body = load(3, '2026-02-01T00:00:00Z');
  const everything = async (user: string) => {
    const paths = ['/api/metrics', '/api/records/metrics', '/api/export/metrics'];
    const responses = await Promise.all([
      ...paths.map((path) => get(user, path)),
      get(user, '/api/metrics/series', { name: 'load', interval: 'day', group_by: 'data_string' }),
    ]);
    return responses.map(({ text }) => text);
  };

  test('includes a request once, however often it is repeated with its key', async () => {
    const key = { 'idempotency-key': 'of reading'.replace(' ', '-') };
    await record('repeats', '/log_raw_metric', body, key);
    const once = await everything('repeats');
    expect(once.join()).toContain('"count":1');
    const again = await record('repeats', '/log_raw_metric', body, key);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await everything('repeats')).toEqual(once);
    await record('repeats', '/log_raw_metric', body);
    expect((await everything('repeats')).join()).toContain('"count":2');
  });

  test('does not include rejected requests', async () => {
    await record('rejected', '/log_raw_metric', body);
    const before = await everything('rejected');
    const wrong = { ...body, metric_value: 'x' };
    expect((await record('rejected', '/log_raw_metric', wrong)).status).toBe(422);
    expect((await record('rejected', '/log_batch', { metrics: [body, wrong] })).status).toBe(422);
    expect(
      (await record('rejected', '/log_batch', { metrics: [body, { ...body, timestamp: '1600-01-01T00:00:00Z' }] }))
        .status,
    ).toBe(422);
    expect((await record('rejected', '/log_raw_metric', '{')).status).toBe(400);
    expect(await everything('rejected')).toEqual(before);
  });

  test('includes rows that are much older than all others', async () => {
    await record('late', '/log_raw_metric', load(1, '2026-02-01T12:00:00Z'));
    await get('late', '/api/metrics/series', { name: 'load' });
    await record('late', '/log_raw_metric', load(2, '1700-01-01T00:00:00Z'));
    await record('late', '/log_raw_metric', load(3, '1969-12-31T23:59:59.999999Z'));
    const { body: response } = await get('late', '/api/metrics/series', { name: 'load', interval: '100y' });
    expect(response.from).toBe('1700-01-01T00:00:00Z');
    expect(response.buckets.map(({ start, sum }: { start: string; sum: number }) => [start.slice(0, 4), sum])).toEqual([
      ['1670', 2],
      ['1770', 0],
      ['1870', 3],
      ['1970', 1],
    ]);
  });
});
