import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { expectError, post, send } from '../harness/client.ts';
import { openEvents } from '../harness/events.ts';
import { bearer } from '../harness/seeded-server.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';

/** The data of the recorded events, each recorded with its index as `data_index`. */
const DATA = [
  '{"plan":"pro","price":0.1,"device":{"os":"ios"}}',
  '{"plan":"pro","price":0.2,"device":{"os":"android"}}',
  '{"plan":"free","price":"0.3","device":{"os":"iOS"}}',
  '{"plan":"Pro","price":0.3,"device":"ios"}',
  '{"plan":1,"price":1e308}',
  '{"plan":1.0,"price":1e308}',
  '{"plan":"1"}',
  '{"plan":true,"a.b":"dots","c\\\\d":"backslash","a":{"b":"nested"},"wow!":"mark","~":"tilde"}',
  '{"plan":"true"}',
  '{"plan":null}',
  '{"plan":{"pro":true}}',
  '{"plan":["pro"]}',
  '{"plan":""}',
  '{"plan":"o\'b \\"%_*","plan":"the last of duplicate keys"}',
  '{"plan":-0.0}',
  '{}',
];
const ALL = DATA.map((_, i) => i);
const without = (...excluded: number[]) => ALL.filter((i) => !excluded.includes(i));

/** Filters, and the events that they select. */
const FILTERS: [query: string, selected: number[]][] = [
  ['data.plan=pro', [0, 1]],
  ['data.plan=pro&data.plan=free', [0, 1, 2]],
  ['data.plan=1', [4, 5, 6]],
  ['data.plan=1.0', [4, 5]],
  ['data.plan=10e-1', [4, 5]],
  ['data.plan=01', []],
  ['data.plan=true', [7, 8]],
  ['data.plan=null', []],
  ['data.plan=', [12]],
  ['data.plan=0', [14]],
  ['data.plan=-0', [14]],
  ['data.plan!=pro', without(0, 1)],
  ['data.plan!=pro&data.plan!=1', without(0, 1, 4, 5, 6)],
  ['data.plan~=ro', [0, 1, 3]],
  ['data.plan~=ro&data.plan~=ee', [0, 1, 2, 3]],
  ['data.plan~=1', [6]],
  ['data.plan~=%25_*', []],
  ['data.plan~=duplicate', [13]],
  ['data.plan~=ro&data.plan!=Pro', [0, 1]],
  ['data.device.os=ios', [0]],
  ['data.device.os~=OS', [2]],
  ['data.device.os!=ios', without(0)],
  ['data.plan=pro&data.device.os=android', [1]],
  ['data.plan.pro=true', [10]],
  ['data.plan.0=pro', []],
  ['data.a.b=nested', [7]],
  ['data.a%5C.b=dots', [7]],
  ['data.c%5C%5Cd=backslash', [7]],
  ['data.wow%5C!=mark', [7]],
  ['data.%5C~~=tild', [7]],
  ['data.price=1e308&data_index!=5', [4]],
  ['data.plan=pro&data_index=1&data_index=2', [1]],
  ['data.__proto__=x', []],
  ['data.toString=x', []],
  ['data.constructor.name=Object', []],
];

let target: Target;
let anna: { authorization: string };
let admin: { authorization: string };
beforeAll(async () => {
  target = await startTarget(UNLIMITED);
  anna = await bearer({ sub: 'anna' });
  admin = await bearer({ sub: 'root', role: 'admin' });
  const eventOf = (data: string, i: number) => `{"type":"e","data":${data},"data_index":"${i}"}`;
  // the events of another user, with the same values and some of their own
  const other = [...DATA, '{"plan":"secret of berta","price":1000}', '{"plan":"secret of berta"}'];
  for (const [headers, data] of [
    [anna, DATA],
    [await bearer({ sub: 'berta' }), other],
  ] as const) {
    const stored = await post(target, '/log_batch', `{"analytics":[${data.map(eventOf).join()}]}`, headers);
    expect(stored.status).toBe(200);
  }
});
afterAll(() => target.stop());

async function get(path: string, headers = anna) {
  const response = await send(target.url + path, { headers });
  expect(response).toMatchObject({ status: 200 });
  return response;
}

describe.each(FILTERS)('%s', (query, selected) => {
  const indices = selected.map(String);

  test('selects the events of counts, for one user and for all', async () => {
    const { body } = await get(`/api/analytics/counts?type=e&group_by=data_index&top=100&${query}`);
    expect(body.groups.map(({ data_index }: { data_index: string }) => data_index)).toEqual(indices);
    expect(body).toMatchObject({ count: selected.length, unique_users: Math.min(1, selected.length) });
    const all = await get(`/api/analytics/counts?type=e&user_id=anna&${query}`, admin);
    expect(all.body.count).toBe(selected.length);
    const ofBoth = await get(`/api/analytics/counts?type=e&group_by=data_index&top=16&${query}`, admin);
    const counts = ofBoth.body.groups.map((group: { data_index: string; count: number }) => [
      group.data_index,
      group.count,
    ]);
    for (const index of indices) expect(counts).toContainEqual([index, 2]);
  });

  test('selects the events of a funnel and of cohort retention', async () => {
    const funnel = await get(`/api/analytics/funnel?type=e&step=0&step=1&${query}`);
    expect(funnel.body.steps.map(({ users }: { users: number }) => users)).toEqual([
      selected.includes(0) ? 1 : 0,
      selected.includes(0) && selected.includes(1) ? 1 : 0,
    ]);
    const retention = await get(`/api/analytics/retention?type=e&step=7&${query}`);
    const users = retention.body.cohorts.reduce((sum: number, cohort: { users: number }) => sum + cohort.users, 0);
    expect(users).toBe(selected.includes(7) ? 1 : 0);
  });

  test('selects records and exported rows', async () => {
    const page = await get(`/api/records/analytics?type=e&${query}`);
    expect(page.body.records.map(({ data_index }: { data_index: string }) => data_index).reverse()).toEqual(indices);
    const exported = await get(`/api/export/analytics?type=e&${query}`);
    const lines = exported.text.split('\n').filter((line) => line !== '');
    expect(lines.map((line) => JSON.parse(line).data_index)).toEqual(indices);
    const csv = await get(`/api/export/analytics?type=e&format=csv&${query}`);
    expect(csv.text.split('\r\n')).toHaveLength(selected.length + 2);
  });

  test('selects the records of a live tail', async () => {
    const tail = await openEvents(`${target.url}/api/records/analytics/tail?type=live&${query}`, anna);
    expect(await tail.next()).toMatchObject({ event: 'open' });
    const events = DATA.map((data, i) => `{"type":"live","data":${data},"data_index":"${i}"}`);
    expect((await post(target, '/log_batch', `{"analytics":[${events.join()}]}`, anna)).status).toBe(200);
    for (const data_index of indices) {
      expect(JSON.parse((await tail.next())?.data ?? '')).toMatchObject({ type: 'live', data_index });
    }
    tail.close();
  });
});

test('a tail with a property filter counts events with more than 64 KB of data as skipped', async () => {
  const tail = await openEvents(`${target.url}/api/records/analytics/tail?type=long&data.plan=pro`, anna);
  expect(await tail.next()).toMatchObject({ event: 'open' });
  const event = (text: string) => ({ type: 'long', data: { plan: 'pro', text }, data_index: String(text.length) });
  const analytics = [event('x'.repeat(70_000)), event('x'.repeat(60_000))];
  expect((await post(target, '/log_batch', { analytics }, anna)).status).toBe(200);
  const events = [await tail.next(), await tail.next()];
  expect(events.map((each) => each?.event).sort()).toEqual(['record', 'skipped']);
  expect(JSON.parse(events.find((each) => each?.event === 'record')?.data ?? '')).toMatchObject({
    data_index: '60000',
  });
  tail.close();
});

test('pages through filtered records without losing or repeating any', async () => {
  const found: string[] = [];
  for (let cursor = ''; ; ) {
    const { body } = await get(`/api/records/analytics?type=e&data.plan!=pro&limit=3${cursor}`);
    found.push(...body.records.map(({ data_index }: { data_index: string }) => data_index));
    if (body.next_cursor === null) break;
    cursor = `&cursor=${body.next_cursor}`;
  }
  expect(found.reverse()).toEqual(without(0, 1).map(String));
});

/** Returns the groups of a result as values with their counts. */
function groupsOf(body: { groups: Record<string, unknown>[] }, name: string): [value: unknown, count: unknown][] {
  return body.groups.map((group) => [group[name], group['count']]);
}

describe('grouping by a property', () => {
  test('groups strings, numbers and booleans by value, and everything else as null', async () => {
    const { body } = await get('/api/analytics/counts?type=e&group_by=data.plan&top=100');
    expect(groupsOf(body, 'data.plan')).toEqual([
      [null, 4],
      ['pro', 2],
      [1, 2],
      ...['free', 'Pro', '1', true, 'true', '', 'the last of duplicate keys', 0].map((value) => [value, 1]),
    ] as [unknown, unknown][]);
    expect(body.other).toEqual({
      labels: 0,
      count: 0,
      unique_users: 0,
      buckets: [expect.objectContaining({ count: 0 })],
    });
  });

  test('combines the remaining values in `other`, with their unique users', async () => {
    const { body } = await get('/api/analytics/counts?type=e&group_by=data.plan&top=2', admin);
    expect(groupsOf(body, 'data.plan')).toEqual([
      [null, 8],
      ['pro', 4],
    ]);
    expect(body.other).toMatchObject({ labels: 10, count: 2 * DATA.length + 2 - 12, unique_users: 2 });
    expect(body).toMatchObject({ count: 2 * DATA.length + 2, unique_users: 2 });
  });

  test('names the groups as the property was sent', async () => {
    const name = 'data.a\\.b';
    const { body } = await get(`/api/analytics/counts?type=e&group_by=${encodeURIComponent(name)}`);
    expect(groupsOf(body, name)).toEqual([
      [null, DATA.length - 1],
      ['dots', 1],
    ]);
  });

  test('reveals no value of another user, neither as a group nor in `other` nor in counts', async () => {
    // the columns of the property exist: an admin has asked for it
    await get('/api/analytics/counts?type=e&group_by=data.plan&sum=data.price', admin);
    for (const top of [1, 2, 1000]) {
      const { body, text } = await get(`/api/analytics/counts?type=e&group_by=data.plan&sum=data.price&top=${top}`);
      expect(text).not.toContain('secret');
      expect(body.count).toBe(DATA.length);
      expect(body.groups.length + body.other.labels).toBe(11);
      const other = await get('/api/analytics/counts?type=e&data.plan~=secret&group_by=data.plan');
      expect(other.body).toMatchObject({ count: 0, groups: [], other: { labels: 0, count: 0 } });
    }
    const mine = await get('/api/analytics/counts?type=e&sum=data.price&data.price!=1e308');
    expect(mine.body.sum).toBe(0.6);
  });

  test('counts a label filter and a property together by day', async () => {
    const { body } = await get(
      '/api/analytics/counts?type=e&group_by=data.plan&data_index=0&data_index=2&interval=day',
    );
    expect(groupsOf(body, 'data.plan')).toEqual([
      ['pro', 1],
      ['free', 1],
    ]);
    expect(body.groups[0].buckets).toHaveLength(1);
  });
});

describe('sums of a property', () => {
  test('are exact, ignore other values than numbers, and stand wherever a count stands', async () => {
    const query = 'type=e&sum=data.price&data.price!=1e308&interval=day';
    const { body } = await get(`/api/analytics/counts?${query}&group_by=data.plan&top=1`);
    expect(body.sum).toBe(0.6); // adding in order would give 0.6000000000000001
    expect(body.buckets.map(({ sum }: { sum: number }) => sum)).toEqual([0.6]);
    expect(body.groups).toMatchObject([{ 'data.plan': null, sum: 0, buckets: [{ sum: 0 }] }]);
    expect(body.other).toMatchObject({ sum: 0.6, buckets: [{ sum: 0.6 }] });
  });

  test('are limited to the largest double, and say so', async () => {
    const { body } = await get('/api/analytics/counts?type=e&sum=data.price&group_by=data.plan');
    expect(body).toMatchObject({ sum: Number.MAX_VALUE, sum_overflow: true });
    const one = body.groups.find((group: Record<string, unknown>) => group['data.plan'] === 1);
    expect(one).toMatchObject({ count: 2, sum: Number.MAX_VALUE, sum_overflow: true });
    const pro = body.groups.find((group: Record<string, unknown>) => group['data.plan'] === 'pro');
    expect(pro).toMatchObject({ count: 2, sum: 0.30000000000000004 });
    expect(pro).not.toHaveProperty('sum_overflow');
  });

  test('are 0 without numbers', async () => {
    const { body } = await get('/api/analytics/counts?type=e&sum=data.plan&data_index=0');
    expect(body).toMatchObject({ count: 1, sum: 0, buckets: [{ sum: 0 }] });
    expect((await get('/api/analytics/counts?type=none&sum=data.plan')).body).toMatchObject({ count: 0, sum: 0 });
  });
});

describe('invalid properties', () => {
  const MARK = 'ü'.repeat(65);
  test.each([
    ['data.a.b.c.d.e.f.g.h.i', 'should have at most 8 keys, not 9'],
    [`data.a.${MARK}`, 'should have keys of at most 128 bytes, not 130'],
    ['data.', 'contains an empty key'],
    ['data.a..b', 'contains an empty key'],
    ['data.a.', 'contains an empty key'],
    ['data.a\\b', 'contains a backslash that is not followed by a dot, a backslash, ! or ~'],
    ['data.a\\', 'contains a backslash that is not followed by a dot, a backslash, ! or ~'],
  ])('%s is rejected as a group, a sum and a filter', async (name, problem) => {
    const query = new URLSearchParams({ type: 'e', group_by: name, sum: name, [name]: 'x', [`${name}~`]: 'x' });
    const response = await send(`${target.url}/api/analytics/counts?${query}`, { headers: anna });
    expectError(response, 422, 'validation_failed');
    const issueOf = (parameter: string) => ({
      loc: ['query', parameter.slice(0, 100)],
      msg: `Value error, the property ${problem}`,
      type: 'value_error',
    });
    // a backslash at the end makes an operator literal, which is a valid key
    const names = name === 'data.a\\' ? ['group_by', 'sum', name] : ['group_by', 'sum', name, `${name}~`];
    expect(response.body.detail).toEqual(names.map(issueOf));
  });

  test.each([
    ['data.a~=', 'data.a~', 'Value error, the text should have 1 to 256 bytes'],
    [`data.a~=${'%C3%BC'.repeat(129)}`, 'data.a~', 'Value error, the text should have 1 to 256 bytes'],
    [
      Array.from({ length: 101 }, (_, i) => `data.a=${i}`).join('&'),
      'data.a',
      'Value error, a filter should have at most 100 values, not 101',
    ],
    [
      Array.from({ length: 11 }, (_, i) => `data.a${i}!=x`).join('&'),
      'data.a10!',
      'Value error, a request should filter by at most 10 properties',
    ],
    ['data=x', 'data', 'Extra inputs are not permitted'],
    ['datax=x', 'datax', 'Extra inputs are not permitted'],
  ])('%s is rejected on every route', async (query, parameter, msg) => {
    for (const path of [
      'analytics/counts?type=e',
      'analytics/funnel?type=e&step=a&step=b',
      'analytics/retention?type=e&step=a',
      'records/analytics?type=e',
      'records/analytics/tail?type=e',
      'export/analytics?type=e',
    ]) {
      const response = await send(`${target.url}/api/${path}&${query}`, { headers: anna });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toMatchObject([{ loc: ['query', parameter], msg }]);
    }
  });

  test.each(['metrics/series?name=m', 'records/metrics?name=m', 'activity?top=1', 'metrics?'])(
    '%s does not accept properties, because metrics have no data',
    async (path) => {
      const response = await send(`${target.url}/api/${path}&data.plan=pro`, { headers: anna });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toMatchObject([{ loc: ['query', 'data.plan'], type: 'extra_forbidden' }]);
    },
  );

  test('a sum should be a property', async () => {
    const response = await send(`${target.url}/api/analytics/counts?type=e&sum=price`, { headers: anna });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([
      { loc: ['query', 'sum'], msg: 'Value error, the property should begin with data., such as data.plan' },
    ]);
  });
});
