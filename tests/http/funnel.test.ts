import { describe, expect, test } from 'bun:test';
import { type Query, setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin } = setUpSeededServer();

describe('a funnel', () => {
  const path = '/api/analytics/funnel';

  test('has users, conversion and median time for each step, including steps without users', async () => {
    const { body } = await getAsAdmin(path, { type: 'tutorial', step: ['one', 'two', 'three', 'never'] });
    expect(body).toEqual({
      type: 'tutorial',
      from: '2026-03-01T10:00:00Z',
      to: '2026-03-02T10:00:00.000001Z',
      tz: 'UTC',
      within_seconds: 604_800,
      steps: [
        { step: 'one', users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: null },
        { step: 'two', users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: 60 },
        { step: 'three', users: 1, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 86_370 },
        { step: 'never', users: 0, conversion: 0, conversion_from_previous: 0, median_seconds: null },
      ],
    });
  });

  test('respects the order of its steps, its time limit and its range', async () => {
    const users = async (query: Query) =>
      (await getAsAdmin(path, { type: 'tutorial', ...query })).body.steps.map(({ users }: { users: number }) => users);
    expect(await users({ step: ['two', 'one'] })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'one', 'one'] })).toEqual([2, 1, 0]);
    expect(await users({ step: ['one', 'two', 'three'], within: '23h' })).toEqual([2, 2, 0]);
    expect(await users({ step: ['one', 'two'], within: '89s' })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'two'], within: '90s' })).toEqual([2, 2]);
    expect(await users({ step: ['one', 'two'], from: '2026-03-01T10:30:00Z' })).toEqual([2, 1]);
    expect(await users({ step: ['one', 'two'], to: '2026-03-01T10:30:00Z' })).toEqual([1, 1]);
    expect(await users({ step: ['one', 'two'], user_id: 'berta' })).toEqual([1, 1]);
  });

  test('has no conversion without users in the first step', async () => {
    const nothing = { users: 0, conversion: null, conversion_from_previous: null, median_seconds: null };
    const { body } = await get('nobody', path, { type: 'tutorial', step: ['one', 'two'] });
    expect(body).toMatchObject({ from: null, to: null });
    expect(body.steps).toEqual([
      { step: 'one', ...nothing },
      { step: 'two', ...nothing },
    ]);
  });
});
