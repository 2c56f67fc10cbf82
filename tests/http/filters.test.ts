import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { expectError, post, send } from '../harness/client.ts';
import { openEvents } from '../harness/events.ts';
import { bearer } from '../harness/seeded-server.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';

/** Labels of the recorded rows, each of which is recorded once as a metric and once as an event. */
const LABELS = ['/a', '/A', '/a/b', '/b', 'x=1&y~=2', "o'b%_*", 'ü🦀', '50%', 'a\u0000z', ''];

/** Filters as query strings after the label's name, and the labels that they select. */
const FILTERS: [query: (name: string) => string, labels: (label: string) => boolean][] = [
  [(name) => `${name}=/a`, (label) => label === '/a'],
  [(name) => `${name}=/a&${name}=/b&${name}=none`, (label) => label === '/a' || label === '/b'],
  [(name) => `${name}=`, (label) => label === ''],
  [(name) => `${name}!=/a`, (label) => label !== '/a'],
  [(name) => `${name}!=/a&${name}!=`, (label) => label !== '/a' && label !== ''],
  [(name) => `${name}~=/a`, (label) => label.includes('/a')],
  [(name) => `${name}~=b&${name}~=%C3%BC`, (label) => label.includes('b') || label.includes('ü')],
  [(name) => `${name}~=%25`, (label) => label.includes('%')],
  [(name) => `${name}~=_*`, (label) => label.includes('_*')],
  [(name) => `${name}=x%3D1%26y~%3D2`, (label) => label === 'x=1&y~=2'],
  [(name) => `${name}~=a&${name}!=/a`, (label) => label.includes('a') && label !== '/a'],
  [(name) => `${name}=/a&${name}!=/a`, () => false],
  [(name) => `${name}=/a&${name}=/b&${name}~=b`, (label) => label === '/b'],
  [(name) => `${name}~=z`, (label) => label.includes('z')],
  [(name) => `${name}~=%00`, (label) => label.includes('\0')],
  [(name) => `${name}=a%00z`, (label) => label === 'a\0z'],
  [(name) => `${name}~=nowhere`, () => false],
];

let target: Target;
let headers: { authorization: string };
beforeAll(async () => {
  target = await startTarget(UNLIMITED);
  headers = await bearer({ sub: 'anna' });
  const metrics = LABELS.map((data_string) => ({ metric_name: 'm', metric_value: 1, data_string }));
  const analytics = LABELS.map((data_index) => ({ type: 'e', data: {}, data_index }));
  const batch = { metrics: metrics.filter(({ data_string }) => data_string !== ''), analytics };
  const emptyLabel = { metrics: [{ metric_name: 'm', metric_value: 1 }] };
  for (const body of [batch, emptyLabel]) expect((await post(target, '/log_batch', body, headers)).status).toBe(200);
  // another user's rows, which no filter may reveal
  const other = { ...batch, metrics: batch.metrics.map((metric) => ({ ...metric, metric_value: 1000 })) };
  expect((await post(target, '/log_batch', other, await bearer({ sub: 'berta' }))).status).toBe(200);
});
afterAll(() => target.stop());

async function get(path: string) {
  const response = await send(target.url + path, { headers });
  expect(response.status).toBe(200);
  return response;
}

describe.each(FILTERS.map(([query, selects]) => [query('LABEL'), query, selects] as const))(
  '%s',
  (_, query, selects) => {
    const expected = LABELS.filter(selects).sort();

    test('selects the rows of a series, in total and by group', async () => {
      const path = `/api/metrics/series?name=m&group_by=data_string&top=100&${query('data_string')}`;
      const { body } = await get(path);
      expect({ count: body.count, sum: body.sum, others: body.other.labels }).toEqual({
        count: expected.length,
        sum: expected.length,
        others: 0,
      });
      expect(body.groups.map(({ data_string }: { data_string: string }) => data_string).sort()).toEqual(expected);
    });

    test('selects the rows of counts', async () => {
      const { body } = await get(`/api/analytics/counts?type=e&group_by=data_index&top=100&${query('data_index')}`);
      expect(body.count).toBe(expected.length);
      expect(body.groups.map(({ data_index }: { data_index: string }) => data_index).sort()).toEqual(expected);
    });

    test('selects the events of a funnel and of cohort retention', async () => {
      const funnel = await get(`/api/analytics/funnel?type=e&step=/a&step=/b&${query('data_index')}`);
      expect(funnel.body.steps[0].users).toBe(expected.includes('/a') ? 1 : 0);
      const retention = await get(`/api/analytics/retention?type=e&step=/b&${query('data_index')}`);
      const users = retention.body.cohorts.reduce((sum: number, cohort: { users: number }) => sum + cohort.users, 0);
      expect(users).toBe(expected.includes('/b') ? 1 : 0);
    });

    test('selects records and exported rows', async () => {
      for (const [kind, only, name] of [
        ['metrics', 'name=m', 'data_string'],
        ['analytics', 'type=e', 'data_index'],
      ] as const) {
        const page = await get(`/api/records/${kind}?${only}&${query(name)}`);
        const labelsOf = (records: Record<string, string>[]) => records.map((record) => record[name]).sort();
        expect(labelsOf(page.body.records)).toEqual(expected);
        const exported = await get(`/api/export/${kind}?${only}&${query(name)}`);
        const lines = exported.text.split('\n').filter((line) => line !== '');
        expect(labelsOf(lines.map((line) => JSON.parse(line)))).toEqual(expected);
      }
    });

    test('selects the records of a live tail', async () => {
      const tail = await openEvents(
        `${target.url}/api/records/analytics/tail?type=live&${query('data_index')}`,
        headers,
      );
      expect(await tail.next()).toMatchObject({ event: 'open' });
      const analytics = [...LABELS, '/a', 'end'].map((data_index) => ({ type: 'live', data: {}, data_index }));
      expect((await post(target, '/log_batch', { analytics }, headers)).status).toBe(200);
      const wanted = analytics.map(({ data_index }) => data_index).filter(selects);
      for (const data_index of wanted) {
        expect(JSON.parse((await tail.next())?.data ?? '')).toMatchObject({ type: 'live', data_index });
      }
      tail.close();
    });
  },
);

describe('invalid filters', () => {
  test.each([
    ['data_index~=', 'data_index~', 'Value error, the text should have 1 to 256 bytes'],
    [`data_index~=${'%C3%BC'.repeat(129)}`, 'data_index~', 'Value error, the text should have 1 to 256 bytes'],
    [
      Array.from({ length: 101 }, (_, i) => `data_index!=${i}`).join('&'),
      'data_index!',
      'Value error, a filter should have at most 100 values, not 101',
    ],
    ['data_string=a', 'data_string', 'Extra inputs are not permitted'],
    ['data_index<=a', 'data_index<', 'Extra inputs are not permitted'],
  ])('%s is rejected', async (query, parameter, msg) => {
    for (const path of ['counts?type=e', 'funnel?type=e&step=a&step=b', 'retention?type=e&step=a']) {
      const response = await send(`${target.url}/api/analytics/${path}&${query}`, { headers });
      expectError(response, 422, 'validation_failed');
      expect(response.body.detail).toMatchObject([{ loc: ['query', parameter], msg }]);
    }
  });
});
