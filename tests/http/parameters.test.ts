import { describe, expect, test } from 'bun:test';
import { expectError, send } from '../harness/client.ts';
import { bearer, type Query, setUpSeededServer } from '../harness/seeded-server.ts';
import { secondsFromNow } from '../harness/tokens.ts';

const server = setUpSeededServer();
const { get, getAsAdmin, record, urlOf } = server;

const ODD = [
  'ä ö/ü?&=#%+',
  '🦀\u200d\u{1F469}',
  "'; DROP TABLE metrics; --",
  '"quoted", \\ and `ticked`',
  ' leading and trailing ',
  'line\nbreak\ttab\r\n',
  '__proto__',
  'constructor',
  '%2F%00',
  'null',
  '*',
  '\u0000nul',
];

test.each(ODD)('finds only the names and labels that equal %p', async (odd) => {
  const user = 'odd';
  await record(user, '/log_batch', {
    metrics: [{ metric_name: odd, metric_value: 1, data_string: odd, timestamp: '2026-01-01T00:00:00Z' }],
    analytics: [
      { type: odd, data: { [odd]: odd }, data_index: odd, timestamp: '2026-01-01T00:00:00Z' },
      { type: odd, data: {}, data_index: 'next', timestamp: '2026-01-01T00:00:01Z' },
    ],
  });
  const series = await get(user, '/api/metrics/series', { name: odd, data_string: odd, group_by: 'data_string' });
  expect(series.body).toMatchObject({ name: odd, buckets: [{ count: 1 }], groups: [{ data_string: odd }] });
  const counts = await get(user, '/api/analytics/counts', { type: odd, group_by: 'data_index' });
  expect(counts.body).toMatchObject({ type: odd, count: 2, groups: [{ data_index: odd }, { data_index: 'next' }] });
  const funnel = await get(user, '/api/analytics/funnel', { type: odd, step: [odd, 'next'] });
  expect(funnel.body.steps).toMatchObject([
    { step: odd, users: 1 },
    { step: 'next', users: 1 },
  ]);
  const retention = await get(user, '/api/analytics/retention', { type: odd, step: odd, return_step: odd });
  expect(retention.body).toMatchObject({ type: odd, step: odd, return_step: odd, cohorts: [{ users: 1 }] });
  const activity = (await get(user, '/api/activity', { top: '1000' })).body;
  expect(activity.metrics.names).toContainEqual({ name: odd, count: 1, counts: [1] });
  expect(activity.analytics.types).toContainEqual({ type: odd, count: 2, counts: [2] });
  const records = await get(user, '/api/records/analytics', { type: odd, data_index: odd });
  expect(records.body.records).toEqual([expect.objectContaining({ type: odd, data_index: odd, data: { [odd]: odd } })]);
  expect(
    (await get(user, '/api/metrics')).body.metrics.filter(({ name }: { name: string }) => name === odd),
  ).toHaveLength(1);
});

/** Every route, with valid parameters. */
const ROUTES: readonly (readonly [path: string, query: Query])[] = [
  ['/api/metrics', {}],
  ['/api/analytics', {}],
  ['/api/metrics/series', { name: 'load' }],
  ['/api/analytics/counts', { type: 'tutorial' }],
  ['/api/analytics/funnel', { type: 'tutorial', step: ['one', 'two'] }],
  ['/api/analytics/retention', { type: 'tutorial', step: 'one' }],
  ['/api/activity', {}],
  ['/api/records/metrics', {}],
  ['/api/records/analytics', {}],
  ['/api/export/metrics', {}],
  ['/api/export/analytics', {}],
];

describe.each(ROUTES)('%s', (path, query) => {
  test('returns 200', async () => {
    expect((await get('anna', path, query)).status).toBe(200);
  });

  test('requires a token before it validates parameters', async () => {
    for (const address of [urlOf(path, query), urlOf(path, { from: 'x', user_id: 'other', limit: '-1' })]) {
      const anonymous = await send(address);
      expectError(anonymous, 401, 'unauthorized');
      expect(anonymous.headers.get('www-authenticate')).toBe('Bearer');
      expectError(await send(address, { headers: { authorization: 'Bearer x' } }), 401, 'unauthorized');
      const expired = await bearer({ sub: 'anna', exp: secondsFromNow(-10) });
      const rejected = await send(address, { headers: expired });
      expectError(rejected, 401, 'unauthorized');
      expect(rejected.body.message).toBe('Token has expired');
      expect(rejected.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    }
  });

  test("returns another user's rows only to an admin", async () => {
    expectError(await get('anna', path, { ...query, user_id: 'berta' }), 403, 'forbidden');
    expectError(await get('anna', path, { ...query, user_id: 'nobody' }), 403, 'forbidden');
    expectError(await get('anna', path, { ...query, user_id: 'ANNA' }), 403, 'forbidden');
    const ownRows = await get('anna', path, query);
    expect((await get('anna', path, { ...query, user_id: 'anna' })).text).toBe(ownRows.text);
    expect((await getAsAdmin(path, { ...query, user_id: 'anna' })).text).toBe(ownRows.text);
    // roles must match exactly
    for (const role of ['Admin', 'administrator', ['admin'], true]) {
      const headers = await bearer({ sub: 'anna', role });
      expectError(await send(urlOf(path, { ...query, user_id: 'berta' }), { headers }), 403, 'forbidden');
    }
  });

  test('accepts each parameter only once, except for step', async () => {
    for (const [name, value] of [...Object.entries(query), ['user_id', 'anna'] as const]) {
      if (Array.isArray(value)) continue;
      const response = await get('anna', path, { ...query, [name]: [String(value), String(value)] });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toEqual([
        { loc: ['query', name], msg: 'Input should be given once', type: 'too_long' },
      ]);
    }
  });

  test('rejects invalid user IDs', async () => {
    for (const user_id of ['', 'a\nb', '\0', 'x'.repeat(256)]) {
      const response = await get('anna', path, { ...query, user_id });
      expectError(response, 422, 'validation_failed');
      const msg = 'String should have 1 to 255 characters and no control characters';
      expect(response.body.detail).toEqual([{ loc: ['query', 'user_id'], msg, type: 'string_pattern_mismatch' }]);
    }
  });

  test('reports all unknown parameters', async () => {
    const response = await get('anna', path, { ...query, unknown: 'x', toString: 'y' });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toEqual(
      ['unknown', 'toString'].map((name) => ({
        loc: ['query', name],
        msg: 'Extra inputs are not permitted',
        type: 'extra_forbidden',
      })),
    );
  });

  test('rejects other methods', async () => {
    const isDeletable = path === '/api/records/metrics' || path === '/api/records/analytics';
    for (const method of ['POST', 'PUT', 'PATCH', ...(isDeletable ? [] : ['DELETE'])]) {
      const response = await send(urlOf(path, query), { method, headers: await bearer({ sub: 'anna' }) });
      expectError(response, 405, 'method_not_allowed');
    }
  });
});

describe('validation of parameters', () => {
  const [SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT] = [
    ['/api/metrics/series', { name: 'load' }],
    ['/api/analytics/counts', { type: 'tutorial' }],
    ['/api/analytics/funnel', { type: 'tutorial', step: ['one', 'two'] }],
    ['/api/analytics/retention', { type: 'tutorial', step: 'one' }],
    ['/api/activity', {}],
    ['/api/records/metrics', {}],
    ['/api/export/analytics', {}],
  ] as const satisfies (readonly [string, Query])[];

  const DATETIME = ['datetime_parsing', 'Input should be a valid datetime with an offset, in RFC 3339'] as const;
  const INTERVAL = [
    'value_error',
    'Value error, the interval should be minutes, hours, days, weeks, months or years, such as 15m, hour or 1d',
  ] as const;
  const ZONE = ['value_error', 'Value error, the time zone should be an IANA name, such as Europe/Berlin'] as const;
  const INTEGER = ['int_parsing', 'Input should be a valid integer, unable to parse string as an integer'] as const;
  const CURSOR = ['value_error', 'Value error, the cursor should be the next_cursor of a page'] as const;
  const WITHIN = [
    'value_error',
    'Value error, the duration should be a positive number followed by s, m, h or d, such as 7d',
  ] as const;
  const ID = ['value_error', 'Value error, the value should be the ID of a record'] as const;
  const wrong: [readonly [string, Query], string, readonly string[], readonly [type: string, msg: string]][] = [
    ...[SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT].flatMap((route): typeof wrong =>
      ['from', 'to'].map((name) => [
        route,
        name,
        [
          '',
          'yesterday',
          '2026-03-01',
          '2026-03-01T00:00:00',
          '2026-02-29T00:00:00Z',
          '2026-03-01T24:00:00Z',
          '1767225600',
        ],
        DATETIME,
      ]),
    ),
    ...[SERIES, COUNTS, ACTIVITY].flatMap((route): typeof wrong => [
      [
        route,
        'interval',
        [
          '',
          '0d',
          '-1d',
          '1.5h',
          '7m',
          '5h',
          'fortnight',
          '1',
          'ms',
          'Day',
          'constructor',
          'toString',
          '10000d',
          '1 d',
          '1d ',
        ],
        INTERVAL,
      ],
      [route, 'tz', ['', 'Mars/Olympus', '+02:00', 'UTC+2', 'Europe', '../../etc/passwd', 'Z'], ZONE],
      [route, 'top', ['', 'ten', '1.5', '1e2', '0x10', ' 1', '9'.repeat(16)], INTEGER],
      [route, 'top', ['0', '-1'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
      [route, 'top', ['1001', '999999999999999'], ['less_than_equal', 'Input should be less than or equal to 1000']],
    ]),
    [SERIES, 'group_by', ['', 'data_index', 'user_id'], ['enum', "Input should be 'data_string'"]],
    [
      COUNTS,
      'group_by',
      ['', 'data_string', 'toString'],
      ['enum', "Input should be 'data_index' or a property, such as data.plan"],
    ],
    [RETENTION, 'tz', ['', 'Mars/Olympus', '+02:00'], ZONE],
    [RETENTION, 'days', ['', 'all', '1.5', '7d'], INTEGER],
    [RETENTION, 'days', ['0', '-1'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
    [RETENTION, 'days', ['31'], ['less_than_equal', 'Input should be less than or equal to 30']],
    [FUNNEL, 'within', ['', '0s', '7', 'd', '-1d', '1w', '1.5h', '36501d', '99999999999s'], WITHIN],
    [RECORDS, 'limit', ['', 'all', '1.0'], INTEGER],
    [RECORDS, 'limit', ['0', '-5'], ['greater_than_equal', 'Input should be greater than or equal to 1']],
    [RECORDS, 'limit', ['1001'], ['less_than_equal', 'Input should be less than or equal to 1000']],
    [RECORDS, 'cursor', ['', 'ABC', '-1', 'a b', 'z'.repeat(12), 'zzzzzzzzzzz', "1' OR 1"], CURSOR],
    [EXPORT, 'format', ['', 'xml', 'NDJSON', 'json'], ['enum', "Input should be 'ndjson' or 'csv' or 'parquet'"]],
    [EXPORT, 'formulas', ['', 'yes'], ['enum', "Input should be 'keep' or 'escape'"]],
    [EXPORT, 'after', ['', 'x', '019aab3c-5f00-4001-9c3e-5a1d7f0b2c44', '019AAB3C-5F00-7001-9C3E-5A1D7F0B2C44'], ID],
  ];

  test.each(
    wrong.map(
      ([[path, query], name, values, issue]) => [`${name} of ${path}`, { path, query, name, values, issue }] as const,
    ),
  )('rejects %s', async (_, { path, query, name, values, issue: [type, msg] }) => {
    for (const value of values) {
      const response = await get('anna', path, { ...query, [name]: value });
      expectError(response, 422, 'validation_failed');
      expect([value, response.body.detail]).toEqual([value, [{ loc: ['query', name], msg, type }]]);
    }
  });

  test.each([
    ['/api/metrics/series', ['name']],
    ['/api/analytics/counts', ['type']],
    ['/api/analytics/funnel', []],
    ['/api/analytics/retention', ['step']],
  ])('reports the missing parameters of %s', async (path, missing) => {
    const response = await get('anna', path);
    expectError(response, 422, 'validation_failed');
    const issues = missing.map((name) => ({ loc: ['query', name], msg: 'Field required', type: 'missing' }));
    const msg = 'Value error, a funnel should have 2 to 20 steps, not 0';
    const steps = path === FUNNEL[0] ? [{ loc: ['query', 'step'], msg, type: 'value_error' }] : [];
    expect(response.body.detail).toEqual([...issues, ...steps]);
  });

  test('reports all issues at once', async () => {
    const { body } = await get('anna', '/api/records/metrics', { limit: '0', from: 'x', cursor: '!', more: '1' });
    expect(body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual(['cursor', 'from', 'limit', 'more']);
    const range = { from: '2026-03-02T00:00:00Z', to: '2026-03-01T00:00:00Z' };
    const response = await get('anna', '/api/analytics/funnel', { step: 'one', ...range, within: 'x', user_id: '\0' });
    expectError(response, 422, 'validation_failed');
    const wrong = response.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort();
    expect(wrong).toEqual(['step', 'to', 'user_id', 'within']);
    const page = await get('anna', '/api/export/metrics', { format: 'x', after: 'x', from: 'x' });
    expect(page.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual(['after', 'format', 'from']);
  });

  test.each([0, 1, 21])('rejects a funnel of %p steps', async (steps) => {
    const response = await get('anna', '/api/analytics/funnel', { type: 'x', step: Array(steps).fill('one') });
    expectError(response, 422, 'validation_failed');
    const msg = `Value error, a funnel should have 2 to 20 steps, not ${steps}`;
    expect(response.body.detail).toEqual([{ loc: ['query', 'step'], msg, type: 'value_error' }]);
  });

  test('accepts a funnel of twenty steps', async () => {
    const { body } = await get('anna', '/api/analytics/funnel', { type: 'tutorial', step: Array(20).fill('one') });
    expect(body.steps).toHaveLength(20);
  });

  test.each([SERIES, COUNTS, FUNNEL, RETENTION, ACTIVITY, RECORDS, EXPORT])(
    'rejects a range that ends before it starts, for %s',
    async (path, query) => {
      const reversed = { from: '2026-03-01T00:00:00.000001Z', to: '2026-03-01T00:00:00Z' };
      const response = await get('anna', path, { ...query, ...reversed });
      expectError(response, 422, 'validation_failed');
      const msg = 'Value error, the range ends before it starts';
      expect(response.body.detail).toEqual([{ loc: ['query', 'to'], msg, type: 'value_error' }]);
      // the same instant in two zones is an empty range, not a reversed one
      const empty = { from: '2026-03-01T01:00:00+01:00', to: '2026-03-01T00:00:00Z' };
      expect((await get('anna', path, { ...query, ...empty })).status).toBe(200);
    },
  );

  test('reports all issues of a series at once', async () => {
    const response = await get('anna', '/api/metrics/series', { from: 'x', interval: 'x', tz: 'x', top: '0' });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc }: { loc: string[] }) => loc[1]).sort()).toEqual([
      'from',
      'interval',
      'name',
      'top',
      'tz',
    ]);
  });

  test('rejects a range with too many buckets', async () => {
    const range = { from: '2000-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' };
    for (const [path, query] of [SERIES, COUNTS, ACTIVITY]) {
      const response = await get('anna', path, { ...query, ...range, interval: 'hour' });
      expectError(response, 422, 'query_too_large');
      expect(response.body.detail).toEqual([
        {
          loc: ['query', 'interval'],
          msg: 'Value error, the range has more than 10000 buckets',
          type: 'query_too_large',
        },
      ]);
      expect((await get('anna', path, { ...query, ...range, interval: 'day' })).status).toBe(200);
    }
    // cohorts are by day
    const [path, query] = RETENTION;
    expect((await get('anna', path, { ...query, ...range, days: '1' })).body.cohorts).toHaveLength(9497);
    const long = { from: '1998-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' };
    expectError(await get('anna', path, { ...query, ...long, days: '1' }), 422, 'query_too_large');
  });
});

test('returns no 5xx at the limits of valid times', async () => {
  for (const tz of ['UTC', 'Pacific/Apia', 'America/St_Johns']) {
    for (const [from, to] of [
      ['0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z'],
      ['0000-01-01T00:00:00+14:00', '0000-01-02T00:00:00Z'],
      ['9999-12-31T00:00:00Z', '9999-12-31T23:59:59-12:00'],
      ['1582-10-01T00:00:00Z', '1582-10-20T00:00:00Z'],
    ] as const) {
      for (const interval of ['year', '9999y', '9999M', '9999w', '9999d', 'day', 'minute']) {
        const { status } = await get('anna', '/api/metrics/series', { name: 'load', from, to, tz, interval });
        expect([200, 422]).toContain(status);
      }
    }
  }
});

test('logs no parameters', () => {
  expect(server.target.output().stderr + server.target.output().stdout).not.toContain('Mars/Olympus');
  expect(server.target.output().stderr).not.toContain('DROP TABLE');
});
