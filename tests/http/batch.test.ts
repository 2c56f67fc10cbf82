import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ANALYTICS, expectError, METRIC, post, rows } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, MAX_BATCH_ITEMS: '50' });
});
afterAll(() => target.stop());

const counts = () => [rows(target, 'metrics').length, rows(target, 'analytics').length];

describe('POST /log_batch', () => {
  test('stores every item and returns the IDs in request order', async () => {
    const metrics = Array.from({ length: 20 }, (_, i) => ({ ...METRIC, metric_value: i }));
    const analytics = Array.from({ length: 30 }, (_, i) => ({ ...ANALYTICS, data: { i } }));
    const { status, body } = await post(target, '/log_batch', { metrics, analytics });
    expect(status).toBe(200);
    expect(Object.keys(body)).toEqual(['metrics', 'analytics']);
    expect(body.metrics.map((id: string) => rows(target, 'metrics', id)[0]?.['metric_value'])).toEqual(
      metrics.map((_, i) => i),
    );
    expect(body.analytics.map((id: string) => JSON.parse(String(rows(target, 'analytics', id)[0]?.['data'])))).toEqual(
      analytics.map(({ data }) => data),
    );
  });

  test.each([
    [{ metrics: [METRIC] }, 1, 0],
    [{ analytics: [ANALYTICS] }, 0, 1],
    [{ metrics: [METRIC], analytics: [] }, 1, 0],
  ])('accepts %o', async (body, metrics, analytics) => {
    const { status, body: ids } = await post(target, '/log_batch', body);
    expect(status).toBe(200);
    expect([ids.metrics.length, ids.analytics.length]).toEqual([metrics, analytics]);
  });

  test("keeps each item's timestamp and exact numbers", async () => {
    const text =
      '{"analytics":[{"type":"t","data":{"n":12345678901234567890},"data_index":"","timestamp":"2026-01-01T00:00:00Z"},{"type":"t","data":{},"data_index":""}]}';
    const { body } = await post(target, '/log_batch', text);
    const [first, second] = body.analytics.map((id: string) => rows(target, 'analytics', id)[0]);
    expect(first).toMatchObject({ data: '{"n":12345678901234567890}', happened_at: Date.UTC(2026, 0, 1) * 1000 });
    expect(second.happened_at).toBe(second.received_at);
  });

  test('reports the location of every invalid item and stores none', async () => {
    const before = counts();
    const response = await post(target, '/log_batch', {
      metrics: [METRIC, { ...METRIC, metric_value: 'x' }, 7],
      analytics: [ANALYTICS, { type: 't', data: [], data_index: '' }, { ...ANALYTICS, timestamp: 'soon' }],
    });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc, type }: { loc: unknown[]; type: string }) => [loc, type])).toEqual([
      [['body', 'metrics', 1, 'metric_value'], 'float_type'],
      [['body', 'metrics', 2], 'model_attributes_type'],
      [['body', 'analytics', 1, 'data'], 'dict_type'],
      [['body', 'analytics', 2, 'timestamp'], 'datetime_parsing'],
    ]);
    expect(counts()).toEqual(before);
  });

  test('reports every timestamp too far in the future and stores none', async () => {
    const before = counts();
    const timestamp = new Date(Date.now() + 3600_000).toISOString();
    const response = await post(target, '/log_batch', {
      metrics: [METRIC, { ...METRIC, timestamp }],
      analytics: [{ ...ANALYTICS, timestamp }],
    });
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail.map(({ loc }: { loc: unknown[] }) => loc)).toEqual([
      ['body', 'metrics', 1, 'timestamp'],
      ['body', 'analytics', 0, 'timestamp'],
    ]);
    expect(counts()).toEqual(before);
  });

  test.each([
    [{}, 'too_short'],
    [{ metrics: [] }, 'too_short'],
    [{ metrics: Array(30).fill(METRIC), analytics: Array(21).fill(ANALYTICS) }, 'too_long'],
    [{ metrics: {} }, 'list_type'],
    [{ metrics: null }, 'list_type'],
    [{ analytics: 'x' }, 'list_type'],
    [[METRIC], 'model_attributes_type'],
  ])('rejects a batch of the wrong size or shape', async (body, type) => {
    const before = counts();
    const response = await post(target, '/log_batch', body);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([{ type }]);
    expect(counts()).toEqual(before);
  });

  test('requires a token before it reads the body', async () => {
    expectError(await post(target, '/log_batch', '{', { authorization: '' }), 401, 'unauthorized');
  });

  test('stores all items or none for any mix of valid and invalid items', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { maxLength: 30 }),
        fc.array(fc.boolean(), { maxLength: 19 }),
        async (metrics, analytics) => {
          const before = counts();
          const response = await post(target, '/log_batch', {
            metrics: metrics.map((isValid) => (isValid ? METRIC : { ...METRIC, metric_name: '' })),
            analytics: analytics.map((isValid) => (isValid ? ANALYTICS : { ...ANALYTICS, data: 1 })),
          });
          const isAccepted =
            metrics.length + analytics.length > 0 && [...metrics, ...analytics].every((isValid) => isValid);
          expect(response.status).toBe(isAccepted ? 200 : 422);
          const more = isAccepted ? [metrics.length, analytics.length] : [0, 0];
          expect(counts()).toEqual([(before[0] ?? 0) + (more[0] ?? 0), (before[1] ?? 0) + (more[1] ?? 0)]);
        },
      ),
      { numRuns: 60 },
    ));
});
