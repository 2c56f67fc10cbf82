import { expect, test } from 'bun:test';
import { eventUnitOf, headlineOf, unitNamed, unitOf, unitOfStatistic } from '../../src/dashboard/page/units.ts';

const guess = (name: string) => {
  const { kind, scale, symbol, better } = unitOf(name);
  return [kind, scale, symbol, better];
};

test('a unit in the name of a metric decides', () => {
  expect(guess('api_latency_ms')).toEqual(['duration', 0.001, 'ms', 'lower']);
  expect(guess('checkoutMs')).toEqual(['duration', 0.001, 'ms', 'lower']);
  expect(guess('gc_pause_seconds')).toEqual(['duration', 1, 's', 'lower']);
  expect(guess('query.time.us')).toEqual(['duration', 1e-6, 'µs', 'lower']);
  expect(guess('response_bytes')).toEqual(['bytes', 1, 'bytes', 'lower']);
  expect(guess('heap-mb')).toEqual(['bytes', 1e6, 'MB', 'lower']);
  expect(guess('cpu_percent')).toEqual(['percent', 1, '%', 'lower']);
  expect(guess('cache_hit_ratio')).toEqual(['percent', 100, '', undefined]);
  expect(guess('session_seconds')).toEqual(['duration', 1, 's', 'higher']);
});

test('durations without a unit in their name are seconds', () => {
  for (const name of ['page_load_time', 'request duration', 'apiLatency', 'db.wait']) {
    expect(guess(name)).toEqual(['duration', 1, 's', 'lower']);
  }
  expect(guess('session_length')).toEqual(['duration', 1, 's', 'higher']);
  // not at the end of the name
  expect(guess('time_zone_changes')).toEqual(['plain', 1, '', undefined]);
});

test('amounts of money have a currency only if the name says which', () => {
  expect(guess('purchase_amount_eur')).toEqual(['currency', 1, 'EUR', 'higher']);
  expect(guess('price_usd_cents')).toEqual(['currency', 0.01, 'USD', 'higher']);
  expect(guess('ad_spend_gbp')).toEqual(['currency', 1, 'GBP', 'lower']);
  expect(guess('revenue')).toEqual(['plain', 1, '', 'higher']);
  expect(unitOf('revenue').isAmount).toBe(true);
  expect(headlineOf(unitOf('revenue'))).toBe('sum');
  expect(headlineOf(unitOf('page_load_time'))).toBe('p50');
});

test('other names have no unit', () => {
  for (const name of [
    '',
    'ms',
    'temperature',
    'variant_b_views',
    'min',
    'days_since_epoch',
    'constructor',
    'the_constructor',
    'x y',
  ])
    expect(guess(name)).toEqual(['plain', 1, '', undefined]);
  expect(guess('js_errors')).toEqual(['plain', 1, '', 'lower']);
  expect(guess('active_users')).toEqual(['plain', 1, '', 'higher']);
});

test('units that are set replace guesses', () => {
  const settings = [
    { name: 'page_load_time', unit: 'ms' },
    { name: 'revenue', unit: '€' },
    { name: 'queue_length', unit: 'jobs', better: 'lower' },
    { name: 'api_latency_ms', unit: null, better: 'higher' },
    { name: 'window', unit: 'min' },
  ] as const;
  const set = (name: string) => unitOf(name, settings);
  expect(set('page_load_time')).toMatchObject({ kind: 'duration', scale: 0.001, better: 'lower' });
  expect(set('revenue')).toMatchObject({ kind: 'currency', symbol: 'EUR', better: 'higher' });
  expect(set('queue_length')).toMatchObject({ kind: 'plain', symbol: 'jobs', better: 'lower' });
  expect(set('api_latency_ms')).toMatchObject({ kind: 'duration', scale: 0.001, better: 'higher' });
  expect(set('window')).toMatchObject({ kind: 'duration', scale: 60 });
  expect(unitNamed('CHF')).toMatchObject({ kind: 'currency', symbol: 'CHF', isAmount: true });
  expect(unitNamed('constructor')).toMatchObject({ kind: 'plain', symbol: 'constructor' });
});

test('a count is neither good nor bad, nor is the sum of durations; that of amounts is', () => {
  const [time, money] = [unitOf('page_load_time'), unitOf('revenue_eur')];
  expect(unitOfStatistic(time, 'p95').better).toBe('lower');
  expect(unitOfStatistic(time, 'sum')).toMatchObject({ kind: 'duration', better: undefined });
  expect(unitOfStatistic(money, 'sum')).toMatchObject({ kind: 'currency', better: 'higher' });
  expect(unitOfStatistic(money, 'count')).toMatchObject({ kind: 'plain', better: undefined });
  expect([eventUnitOf('signup').better, eventUnitOf('checkout_failed').better]).toEqual(['higher', 'lower']);
});
