import { describe, expect, test } from 'bun:test';
import { setUpSeededServer } from '../harness/seeded-server.ts';

const { get, getAsAdmin } = setUpSeededServer();

describe('metric names and event types', () => {
  test('lists each name with its count and its first and last time, most frequent first', async () => {
    const load = {
      name: 'load',
      count: 5,
      first_seen: '2026-03-28T22:30:00Z',
      last_seen: '2026-03-30T22:00:00Z',
    };
    const other = {
      name: 'other',
      count: 1,
      first_seen: '2026-03-01T00:00:00.5Z',
      last_seen: '2026-03-01T00:00:00.5Z',
    };
    expect((await get('anna', '/api/metrics')).body).toEqual({ metrics: [load, other] });
    expect((await getAsAdmin('/api/metrics')).body).toEqual({ metrics: [{ ...load, count: 6 }, other] });
    expect((await getAsAdmin('/api/metrics', { user_id: 'anna' })).body).toEqual({ metrics: [load, other] });
    const click = { type: 'click', count: 1, first_seen: '2026-03-05T00:00:00Z', last_seen: '2026-03-05T00:00:00Z' };
    const tutorial = {
      type: 'tutorial',
      count: 4,
      first_seen: '2026-03-01T10:00:00Z',
      last_seen: '2026-03-02T10:00:00Z',
    };
    expect((await get('anna', '/api/analytics', { user_id: 'anna' })).body).toEqual({ types: [tutorial, click] });
    expect((await getAsAdmin('/api/analytics')).body).toEqual({ types: [{ ...tutorial, count: 6 }, click] });
  });

  test('lists no names for a user without rows', async () => {
    expect((await get('nobody', '/api/metrics')).body).toEqual({ metrics: [] });
    expect((await get('nobody', '/api/analytics')).body).toEqual({ types: [] });
    expect((await getAsAdmin('/api/metrics', { user_id: 'nobody' })).body).toEqual({ metrics: [] });
  });
});
