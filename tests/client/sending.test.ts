import { describe, expect, test } from 'bun:test';
import { token } from '../harness/tokens.ts';
import { type ClientSetup, setUpClient } from '../harness/typescript-client.ts';

const setup = setUpClient();
const values = ({ metrics }: ClientSetup) => metrics().map((row) => row['metric_value']);

test('stores metrics and events with their labels and times', async () => {
  const before = Date.now();
  setup.client.metric('page_load_time', 2.5, '/dashboard');
  setup.client.metric('plain', -1);
  setup.client.track('tutorial_step', { step: 3 }, 'step_3');
  setup.client.track('plain');
  setup.client.track('import', { a: [1] }, '', { timestamp: new Date(1_000_000) });
  setup.client.metric('import', 1, undefined, { timestamp: '2020-01-02T03:04:05.000006+01:00' });
  setup.client.metric('import', 2, undefined, { timestamp: 2_000_000 });
  await setup.client.flush();
  const after = Date.now();
  expect(setup.rejected).toEqual([]);
  expect(setup.proxy.requests).toHaveLength(1);
  expect(setup.metrics().map((row) => [row['metric_name'], row['metric_value'], row['data_string']])).toEqual([
    ['page_load_time', 2.5, '/dashboard'],
    ['plain', -1, ''],
    ['import', 1, ''],
    ['import', 2, ''],
  ]);
  expect(setup.events().map((row) => [row['type'], row['data'], row['data_index']])).toEqual([
    ['tutorial_step', '{"step":3}', 'step_3'],
    ['plain', '{}', ''],
    ['import', '{"a":[1]}', ''],
  ]);
  const times = [...setup.metrics(), ...setup.events()].map((row) => Number(row['happened_at']));
  expect(times[2]).toBe(Date.parse('2020-01-02T03:04:05.000+01:00') * 1000 + 6);
  expect([times[3], times[6]]).toEqual([2e9, 1e9]);
  for (const time of [times[0], times[1], times[4], times[5]]) {
    expect(time).toBeGreaterThanOrEqual(before * 1000);
    expect(time).toBeLessThan((after + 1) * 1000);
  }
});

test('gives events increasing timestamps, and sends them in order and in batches of 1,000', async () => {
  for (let i = 0; i < 2500; i++) setup.client.metric('n', i);
  await setup.client.flush();
  expect(values(setup)).toEqual(Array.from({ length: 2500 }, (_, i) => i));
  const times = setup.metrics().map((row) => Number(row['happened_at']));
  expect(times.every((time, i) => i === 0 || time > Number(times[i - 1]))).toBe(true);
});

describe('when a request fails', () => {
  test.each(['lose', 'reset', { status: 503 }, { status: 200, body: '<html>sign in to the network</html>' }] as const)(
    'retries the same bytes with the same key: %j',
    async (behavior) => {
      setup.proxy.next.push(behavior);
      setup.client.metric('n', 1);
      setup.client.track('n', { a: 1 });
      await setup.client.flush();
      expect(setup.proxy.requests).toHaveLength(2);
      const [first, second] = setup.proxy.requests;
      expect({ key: first?.key, body: first?.body }).toEqual({ key: second?.key, body: second?.body });
      expect(values(setup)).toEqual([1]);
      expect(setup.events()).toHaveLength(1);
      expect(setup.rejected).toEqual([]);
    },
  );

  test('waits as long as the server asks', async () => {
    setup.proxy.next.push({ status: 429, headers: { 'retry-after': '2' } });
    setup.client.metric('n', 1);
    await setup.client.flush();
    const [first, second] = setup.proxy.requests;
    expect(Number(second?.at) - Number(first?.at)).toBeGreaterThanOrEqual(2_000);
    expect(values(setup)).toEqual([1]);
  });

  test('gets a new token after a 401, and continues', async () => {
    const expired = await token({ sub: setup.user, exp: 1 });
    const fresh = await token({ sub: setup.user });
    const tokens = [expired, fresh];
    const client = await setup.start({ token: async () => tokens.shift() ?? fresh });
    client.metric('n', 1);
    await client.flush();
    await client.close();
    expect(setup.proxy.requests.map(({ authorization }) => authorization)).toEqual([
      `Bearer ${expired}`,
      `Bearer ${fresh}`,
    ]);
    expect(values(setup)).toEqual([1]);
  });

  test('asks once for a new token after a 401, then waits between attempts', async () => {
    let calls = 0;
    const expired = await token({ sub: setup.user, exp: 1 });
    const fresh = await token({ sub: setup.user });
    const client = await setup.start({
      token() {
        calls++;
        if (calls === 3) throw new Error('offline');
        return calls < 4 ? expired : fresh;
      },
    });
    client.metric('n', 1);
    await client.flush();
    await client.close();
    expect(calls).toBe(4);
    const [first, second, third] = setup.proxy.requests.map(({ at }) => at);
    expect(setup.proxy.requests).toHaveLength(3);
    expect(Number(third) - Number(second)).toBeGreaterThan(500); // the first two follow each other at once
    expect(Number(second)).toBeGreaterThan(Number(first));
    expect(values(setup)).toEqual([1]);
  });
});

test("sends items of another user only with that user's token", async () => {
  const other = `${setup.user}-other`;
  const tokens = [await token({ sub: other, exp: 1 }), await token({ sub: setup.user })];
  let calls = 0;
  const client = await setup.start({ token: () => tokens[Math.min(calls++, 1)] ?? '' });
  await Promise.resolve(); // the first token is known now
  client.metric('of_the_other', 1);
  await client.flush();
  client.metric('own', 2);
  await client.flush();
  await client.close();
  expect(setup.metrics().map((row) => row['metric_name'])).toEqual(['own']);
  expect(setup.rejected.map(({ items, rejection: { code } }) => [items.length, code])).toEqual([[1, 'closed']]);
});

test('sends what is queued when it is closed, and hands back what is recorded later', async () => {
  setup.client.metric('n', 1);
  await setup.client.close();
  setup.client.metric('n', 2);
  await setup.client.flush();
  expect(values(setup)).toEqual([1]);
  expect(setup.rejected.map(({ rejection: { code } }) => code)).toEqual(['closed']);
});

test('hands back what is in memory if the server cannot be reached when the client is closed', async () => {
  setup.proxy.next.push('reset');
  setup.client.metric('n', 1);
  await setup.client.close();
  expect(setup.rejected).toMatchObject([
    { items: [{ metric_name: 'n', metric_value: 1 }], rejection: { code: 'closed' } },
  ]);
});
