import { expect, test } from 'bun:test';
import { setUpClient } from '../harness/typescript-client.ts';

const setup = setUpClient({ MAX_BODY_BYTES: '65536', MAX_NAMES_PER_USER: '5', MAX_BATCH_ITEMS: '600' });
const reasons = () =>
  setup.rejected.map(({ items, rejection: { status, code, message } }) => [items.length, status, code, message]);

test('hands back invalid items with the reason, and stores all others in order', async () => {
  const { client } = setup;
  client.metric('n', 0);
  client.metric('x'.repeat(2000), 1);
  client.track('n', { a: 1 });
  client.track('n', {}, '\ud800');
  client.metric('n', 2, 'label', { timestamp: 'yesterday' });
  client.metric('n', 3);
  await client.flush();
  expect(setup.metrics().map((row) => row['metric_value'])).toEqual([0, 3]);
  expect(setup.events()).toHaveLength(1);
  expect(reasons()).toEqual([
    [1, 422, 'validation_failed', 'metric_name: String should have at most 1024 characters'],
    [1, 422, 'validation_failed', expect.stringContaining('data_index: Input should be a valid string')],
    [1, 422, 'validation_failed', 'timestamp: Input should be a valid datetime with an offset, in RFC 3339'],
  ]);
  expect(setup.rejected[2]?.items).toEqual([
    { metric_name: 'n', metric_value: 2, data_string: 'label', timestamp: 'yesterday' },
  ]);
  const keys = setup.proxy.requests.map(({ key }) => key);
  expect(new Set(keys).size).toBe(2); // the rest is another payload, and has another key
});

test('hands back more invalid items than the server reports at once', async () => {
  for (let i = 0; i < 300; i++) setup.client.metric(i % 2 ? 'n' : 'x'.repeat(1025), i);
  await setup.client.flush();
  expect(setup.metrics()).toHaveLength(150);
  expect(setup.rejected).toHaveLength(150);
});

test('hands back names beyond the limit of names', async () => {
  for (let i = 0; i < 8; i++) setup.client.metric(`n${i}`, i);
  await setup.client.flush();
  expect(setup.metrics().map((row) => row['metric_name'])).toEqual(['n0', 'n1', 'n2', 'n3', 'n4']);
  expect(setup.rejected.map(({ rejection: { code } }) => code)).toEqual(Array(3).fill('too_many_names'));
});

test('hands back all items of names beyond the limit after one response', async () => {
  const quote = 'a "quoted\\" name';
  for (let i = 0; i < 5; i++) setup.client.metric(`n${i}`, i);
  await setup.client.flush();
  const before = setup.proxy.requests.length;
  for (let i = 0; i < 400; i++) {
    if (i % 4 === 0) setup.client.track(quote, { i });
    else if (i % 4 === 1) setup.client.metric(quote, i);
    else if (i % 4 === 2)
      setup.client.track('n0', { type: quote }); // an event type is not a metric name
    else setup.client.metric('n0', i, quote);
  }
  await setup.client.flush();
  expect(setup.proxy.requests.length - before).toBe(2);
  expect(setup.metrics()).toHaveLength(105);
  expect(setup.rejected).toHaveLength(300);
  expect(
    setup.rejected.every(({ items: [item] }) => item && !('metric_name' in item && item.metric_name === 'n0')),
  ).toBe(true);
});

test('splits batches that are too large, and hands back an item that is too large by itself', async () => {
  const { client } = setup;
  const text = 'x'.repeat(30_000);
  for (let i = 0; i < 5; i++) client.track('n', { i, text });
  client.track('n', { i: 5, text: 'x'.repeat(70_000) });
  for (let i = 6; i < 9; i++) client.track('n', { i, text });
  await client.flush();
  expect(setup.events().map((row) => JSON.parse(String(row['data'])).i)).toEqual([0, 1, 2, 3, 4, 6, 7, 8]);
  expect(setup.rejected.map(({ items, rejection }) => [items.length, rejection.status, rejection.code])).toEqual([
    [1, 413, 'payload_too_large'],
  ]);
});

test('splits batches of more items than the server allows', async () => {
  for (let i = 0; i < 1000; i++) setup.client.metric('n', i);
  await setup.client.flush();
  expect(setup.metrics().map((row) => row['metric_value'])).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(setup.rejected).toEqual([]);
});

test('finds the one item that makes a batch unreadable', async () => {
  const { client } = setup;
  let deep: object = {};
  for (let i = 0; i < 300; i++) deep = { deep };
  client.track('n', { i: 0 });
  client.track('n', deep);
  client.track('n', { i: 2 });
  await client.flush();
  expect(setup.events().map((row) => row['data'])).toEqual(['{"i":0}', '{"i":2}']);
  expect(setup.rejected).toHaveLength(1);
});

test('a rejected batch does not block later ones', async () => {
  setup.proxy.next.push({ status: 403, body: '{"code":"forbidden","message":"Not allowed."}' });
  setup.client.metric('n', 1);
  await setup.client.flush();
  setup.client.metric('n', 2);
  await setup.client.flush();
  expect(reasons()).toEqual([[1, 403, 'forbidden', 'Not allowed.']]);
  expect(setup.metrics().map((row) => row['metric_value'])).toEqual([2]);
});

test('never throws for invalid arguments', async () => {
  const client = setup.client as unknown as Record<'metric' | 'track', (...args: unknown[]) => void>;
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  const metrics: unknown[][] = [
    ['n', Number.NaN],
    ['n', Number.POSITIVE_INFINITY],
    ['n', '1'],
    ['n', undefined],
    ['n', 1n],
    ['', 1],
    [undefined, 1],
    [Symbol('n'), 1],
    ['n', 1, 'label', { timestamp: new Date(Number.NaN) }],
    ['n', 1, 'label', { timestamp: Symbol('now') }],
    ['n', 1, 5n],
    [],
  ];
  const events: unknown[][] = [
    ['n', cyclic],
    ['n', { big: 1n }],
    ['n', []],
    ['n', null],
    ['n', 'text'],
    ['n', () => {}],
    [5, {}],
    [null],
    [
      'n',
      {
        toJSON() {
          throw new Error('no');
        },
      },
    ],
    [
      'n',
      new Proxy(
        {},
        {
          ownKeys() {
            throw new Error('no');
          },
        },
      ),
    ],
  ];
  for (const args of metrics) client.metric(...args);
  for (const args of events) client.track(...args);
  expect(setup.rejected).toHaveLength(metrics.length + events.length);
  expect(new Set(setup.rejected.map(({ rejection: { status, code } }) => `${status} ${code}`))).toEqual(
    new Set(['0 invalid_item']),
  );
  // the server rejects what only it checks
  client.metric('n', 1, 5);
  client.track('n', { toJSON: () => 'text' });
  await setup.client.flush();
  expect(setup.rejected).toHaveLength(metrics.length + events.length + 2);
  expect(setup.metrics()).toEqual([]);
});

test('an error in onRejected does not stop the client', async () => {
  const client = await setup.start({
    onRejected() {
      throw new Error('of the product');
    },
  });
  client.metric('n', Number.NaN);
  client.metric('n', 1);
  await client.flush();
  await client.close();
  expect(setup.metrics()).toHaveLength(1);
});
