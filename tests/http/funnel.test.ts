import { describe, expect, test } from 'bun:test';
import { expectError } from '../harness/client.ts';
import { type Query, setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin, record } = setUpSeededServer();

describe('a funnel', () => {
  const path = '/api/analytics/funnel';
  const labeled = (step: string) => ({ step, type: 'tutorial', data_index: step });

  test('has users, conversion and median time for each step, including steps without users', async () => {
    const { body } = await getAsAdmin(path, { type: 'tutorial', step: ['one', 'two', 'three', 'never'] });
    expect(body).toEqual({
      type: 'tutorial',
      from: '2026-03-01T10:00:00Z',
      to: '2026-03-02T10:00:00.000001Z',
      tz: 'UTC',
      within_seconds: 604_800,
      steps: [
        { ...labeled('one'), users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: null },
        { ...labeled('two'), users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: 60 },
        { ...labeled('three'), users: 1, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 86_370 },
        { ...labeled('never'), users: 0, conversion: 0, conversion_from_previous: 0, median_seconds: null },
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
      { ...labeled('one'), ...nothing },
      { ...labeled('two'), ...nothing },
    ]);
  });
});

describe('a funnel across event types', () => {
  const path = '/api/analytics/funnel';
  const event = (type: string, data_index: string, timestamp: string) => ({ type, data: {}, data_index, timestamp });
  const recordEvents = async (user: string, analytics: ReturnType<typeof event>[]) =>
    expect((await record(user, '/log_batch', { analytics })).status).toBe(200);
  /** Returns the number of users per step. */
  const usersOf = async (user: string, query: Query) => {
    const { status, body } = await get(user, path, query);
    expect(status).toBe(200);
    return body.steps.map(({ users }: { users: number }) => users);
  };

  test('has the type and data_index of each step, and covers the events of all their types', async () => {
    const { body } = await getAsAdmin(path, { step: ['tutorial:one', 'tutorial', 'click:', 'never:x'], within: '30d' });
    const step = (text: string, type: string, data_index: string | null) => ({ step: text, type, data_index });
    expect(body).toEqual({
      type: null,
      from: '2026-03-01T10:00:00Z',
      to: '2026-03-05T00:00:00.000001Z',
      tz: 'UTC',
      within_seconds: 30 * 86_400,
      steps: [
        {
          ...step('tutorial:one', 'tutorial', 'one'),
          ...{ users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: null },
        },
        {
          ...step('tutorial', 'tutorial', null),
          ...{ users: 2, conversion: 1, conversion_from_previous: 1, median_seconds: 60 },
        },
        {
          ...step('click:', 'click', ''),
          ...{ users: 1, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 309_570 },
        },
        {
          ...step('never:x', 'never', 'x'),
          ...{ users: 0, conversion: 0, conversion_from_previous: 0, median_seconds: null },
        },
      ],
    });
  });

  test('splits a step at its first unescaped colon', async () => {
    const cases = [
      ['a', 'a', null],
      ['a:', 'a', ''],
      ['a:b', 'a', 'b'],
      ['a:b:c', 'a', 'b:c'],
      ['a::', 'a', ':'],
      ['a\\:b', 'a:b', null],
      ['a\\:b:c', 'a:b', 'c'],
      ['a\\\\:b', 'a\\', 'b'],
      ['a\\\\\\:b', 'a\\:b', null],
      ['a:\\', 'a', '\\'],
      ['a:b\\:c', 'a', 'b\\:c'],
      ['', '', null],
      [':', '', ''],
      [':x', '', 'x'],
      ['größe/🦀\n:ß\n', 'größe/🦀\n', 'ß\n'],
    ] as const;
    // one event per case; the steps of the funnel are in the same order
    const events = cases.map(([, type, data_index], i) =>
      event(type, data_index ?? `any ${i}`, new Date(Date.UTC(2026, 0, 1, 0, i)).toISOString()),
    );
    await recordEvents('syntax', events);
    const { body } = await get('syntax', path, { step: cases.map(([step]) => step) });
    expect(body.steps).toMatchObject(cases.map(([step, type, data_index]) => ({ step, type, data_index, users: 1 })));
  });

  test('rejects every step with another backslash in its type, unless the type is given', async () => {
    const step = ['a\\b', 'ok:\\', '\\', 'a\\:b', 'a\\\\\\', '\\:\\x:y'];
    const response = await get('anna', path, { step });
    expectError(response, 422, 'validation_failed');
    const msg =
      'Value error, a step should be a type, or a type and a data_index separated by a colon; write a literal colon in the type as \\: and a backslash as \\\\';
    expect(response.body.detail).toEqual(Array(4).fill({ loc: ['query', 'step'], msg, type: 'value_error' }));
    expect(await usersOf('anna', { type: 'tutorial', step })).toEqual(Array(6).fill(0));
  });

  test('takes a step literally as data_index if the type is given', async () => {
    const labels = ['tutorial:one', 'a\\:b', ':', 'x\\'];
    await recordEvents(
      'literal',
      labels.map((label, i) => event('tutorial', label, `2026-01-01T00:00:0${i}Z`)),
    );
    const { body } = await get('literal', path, { type: 'tutorial', step: labels });
    expect(body.type).toBe('tutorial');
    expect(body.steps).toMatchObject(
      labels.map((label) => ({ step: label, type: 'tutorial', data_index: label, users: 1 })),
    );
  });

  test('takes events of the same microsecond in the order in which they were recorded, whatever their types', async () => {
    const at = '2026-01-01T00:00:00.000001Z';
    await recordEvents('tied', [event('view', '', at), event('buy', 'pro', at), event('view', '', at)]);
    const users = (...step: string[]) => usersOf('tied', { step });
    expect(await users('view', 'buy')).toEqual([1, 1]);
    expect(await users('buy', 'view')).toEqual([1, 1]);
    expect(await users('view', 'buy', 'view')).toEqual([1, 1, 1]);
    expect(await users('buy', 'view', 'view')).toEqual([1, 1, 0]);
    expect(await users('view', 'view', 'buy')).toEqual([1, 1, 0]);
  });

  test('uses an event for one step only, even if it matches several', async () => {
    await recordEvents('both', [
      event('purchase', 'pro', '2026-01-01T00:00:00Z'),
      event('purchase', 'free', '2026-01-01T00:01:00Z'),
    ]);
    const users = (...step: string[]) => usersOf('both', { step });
    expect(await users('purchase', 'purchase:pro')).toEqual([1, 0]);
    expect(await users('purchase:pro', 'purchase')).toEqual([1, 1]);
    expect(await users('purchase', 'purchase')).toEqual([1, 1]);
    expect(await users('purchase:free', 'purchase')).toEqual([1, 0]);
    expect(await users('purchase', 'purchase', 'purchase')).toEqual([1, 1, 0]);
  });

  test('includes the last microsecond of its window, and only rows that pass its filters', async () => {
    await recordEvents('edge', [
      event('open', 'a', '2026-01-01T00:00:00Z'),
      event('close', 'b', '2026-01-01T00:01:00Z'),
      event('late', 'c', '2026-01-01T00:01:00.000001Z'),
    ]);
    expect(await usersOf('edge', { step: ['open', 'close'], within: '60s' })).toEqual([1, 1]);
    expect(await usersOf('edge', { step: ['open', 'late'], within: '60s' })).toEqual([1, 0]);
    expect(await usersOf('edge', { step: ['open', 'close'], data_index: ['a', 'b'] })).toEqual([1, 1]);
    expect(await usersOf('edge', { step: ['open', 'close'], data_index: 'a' })).toEqual([1, 0]);
    expect(await usersOf('edge', { step: ['open:a', 'close:b'], 'data_index!': 'a' })).toEqual([0, 0]);
  });

  test("counts another user's events for an admin only", async () => {
    for (const user of ['own', 'other']) {
      await recordEvents(user, [
        event('scope start', '', '2026-01-01T00:00:00Z'),
        ...(user === 'other' ? [event('scope end', '', '2026-01-01T00:01:00Z')] : []),
      ]);
    }
    const query = { step: ['scope start', 'scope end'] };
    expect(await usersOf('own', query)).toEqual([1, 0]);
    const { body } = await get('own', path, query);
    expect(body.to).toBe('2026-01-01T00:00:00.000001Z');
    const users = async (scope: Query) =>
      (await getAsAdmin(path, { ...query, ...scope })).body.steps.map(({ users }: { users: number }) => users);
    expect(await users({})).toEqual([2, 1]);
    expect(await users({ user_id: 'other' })).toEqual([1, 1]);
    expect(await users({ user_id: 'own' })).toEqual([1, 0]);
  });
});
