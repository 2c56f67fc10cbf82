import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ADA, type Caller, callAs, ROOT, VIEWER } from '../harness/callers.ts';
import { expectError } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget({ JWT_SECRET: SECRET, JWT_VIEWER_ROLES: 'viewer', RATE_LIMIT: 'off' });
});
afterAll(() => target.stop());

const call = (caller: Caller, method: string, path: string, body?: unknown) =>
  callAs(target, caller, method, path, body);

describe('annotations', () => {
  test('admins write them, admins and viewers read them, users do not', async () => {
    const added = await call(ROOT, 'POST', '/api/annotations', {
      ...{ text: 'deploy 2.4.0 <script>', url: 'https://example.com/2.4.0' },
      timestamp: '2026-03-01T10:00:00.123456+01:00',
    });
    expect(added.body).toEqual({
      ...{ id: expect.any(String), text: 'deploy 2.4.0 <script>', url: 'https://example.com/2.4.0', author: 'root' },
      timestamp: '2026-03-01T09:00:00.123456Z',
    });
    const inRange = '/api/annotations?from=2026-03-01T09:00:00Z&to=2026-03-01T09:00:01Z';
    for (const caller of [ROOT, VIEWER]) {
      expect((await call(caller, 'GET', inRange)).body).toEqual({ annotations: [added.body] });
    }
    expectError(await call(ADA, 'GET', inRange), 403, 'forbidden');
    for (const caller of [ADA, VIEWER]) {
      expectError(await call(caller, 'POST', '/api/annotations', { text: 'x' }), 403, 'forbidden');
      expectError(await call(caller, 'DELETE', `/api/annotations/${added.body.id}`), 403, 'forbidden');
    }
    expect((await call(ROOT, 'GET', '/api/annotations?to=2026-03-01T09:00:00Z')).body.annotations).toEqual([]);
    expect((await call(ROOT, 'DELETE', `/api/annotations/${added.body.id}`)).body).toEqual({ id: added.body.id });
    expectError(await call(ROOT, 'DELETE', `/api/annotations/${added.body.id}`), 404, 'not_found');
    expect((await call(ROOT, 'GET', inRange)).body).toEqual({ annotations: [] });
  });

  test('without a timestamp, they mark the present', async () => {
    const before = Date.now();
    const { body } = await call(ROOT, 'POST', '/api/annotations', { text: 'now' });
    expect(Date.parse(body.timestamp)).toBeWithin(before, Date.now() + 1);
  });

  test('accept only http and https URLs, times that charts can show, and bounded texts', async () => {
    for (const body of [
      { text: 'x', url: 'javascript:alert(1)' },
      { text: 'x', url: ' javascript:alert(1)' },
      { text: 'x', url: 'java\nscript:alert(1)' },
      { text: 'x', url: 'http://exa\nmple.com' },
      { text: 'x', url: 'data:text/html,x' },
      { text: 'x', url: '//example.com' },
      { text: 'x', url: 'https://' },
      { text: '' },
      { text: 'x'.repeat(501) },
      { text: 'x', timestamp: 'yesterday' },
      { text: 'x', timestamp: '1600-01-01T00:00:00Z' },
      { text: 'x', timestamp: '2300-01-01T00:00:00Z' },
      { text: 'x', author: 'ada' },
    ]) {
      expectError(await call(ROOT, 'POST', '/api/annotations', body), 422, 'validation_failed');
    }
  });
});

describe('units', () => {
  test('admins set and remove them, and users see those of names that they have recorded', async () => {
    await call(ADA, 'POST', '/log_raw_metric', { metric_name: 'checkout_ms', metric_value: 1, data_string: 'x' });
    for (const [name, unit, better] of [
      ['checkout_ms', 'ms', 'lower'],
      ['secret_project', '€', 'higher'],
    ]) {
      const set = await call(ROOT, 'PUT', '/api/units', { name, unit, better });
      expect(set.body).toEqual({ name, unit, better });
    }
    const all = [
      { name: 'checkout_ms', unit: 'ms', better: 'lower' },
      { name: 'secret_project', unit: '€', better: 'higher' },
    ];
    for (const caller of [ROOT, VIEWER]) expect((await call(caller, 'GET', '/api/units')).body).toEqual({ units: all });
    expect((await call(ADA, 'GET', '/api/units')).body).toEqual({ units: all.slice(0, 1) });
    expect((await call(['new-user'], 'GET', '/api/units')).body).toEqual({ units: [] });
    for (const caller of [ADA, VIEWER]) {
      expectError(await call(caller, 'PUT', '/api/units', { name: 'x', unit: 'ms' }), 403, 'forbidden');
    }
    expect((await call(ROOT, 'PUT', '/api/units', { name: 'checkout_ms', unit: 's' })).body.better).toBeNull();
    await call(ROOT, 'PUT', '/api/units', { name: 'checkout_ms', unit: null });
    await call(ROOT, 'PUT', '/api/units', { name: 'never_had_one', unit: null });
    expect((await call(ROOT, 'GET', '/api/units')).body).toEqual({ units: all.slice(1) });
    for (const body of [
      { name: '', unit: 'ms' },
      { name: 'x', unit: '' },
      { name: 'x', unit: 'x'.repeat(17) },
      { name: 'x', unit: 'ms', better: 'maybe' },
      { name: 'x' },
    ]) {
      expectError(await call(ROOT, 'PUT', '/api/units', body), 422, 'validation_failed');
    }
  });
});
