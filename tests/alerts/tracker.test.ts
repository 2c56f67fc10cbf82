import { expect, test } from 'bun:test';
import type { Observation } from '../../src/alerts/alert.ts';
import { type AlertEntry, createTracker } from '../../src/alerts/tracker.ts';

const HOUR = 3_600_000;

/** A tracker with a clock, and what its receiver gets. */
function start(known: readonly AlertEntry[] = []) {
  const clock = { ms: 1e12 };
  const tracker = createTracker(
    known,
    () => clock.ms,
    () => clock.ms,
  );
  return {
    clock,
    tracker,
    /** Applies what a check has found about one condition, and returns the status that is then delivered. */
    observe(isActive: boolean | undefined, key = ''): string | undefined {
      tracker.apply('disk', [observation(isActive, key)]);
      const entry = tracker.pending();
      if (entry) tracker.delivered(entry);
      return entry?.status;
    },
  };
}

function observation(isActive: boolean | undefined, key = ''): Observation {
  return { key, isActive, clearAfterSeconds: 300, summary: 'full', details: {} };
}

test('an alert begins at once, and ends when its condition has not been met for long enough', () => {
  const { clock, tracker, observe } = start();
  expect([observe(false), observe(undefined), observe(true), observe(true)]).toEqual([
    ...[undefined, undefined, 'firing', undefined],
  ]);
  expect(observe(false)).toBeUndefined();
  clock.ms += 299_999;
  expect([observe(undefined), observe(false), tracker.firing()]).toEqual([undefined, undefined, 1]);
  expect(observe(true)).toBeUndefined(); // it does not flap
  expect(observe(false)).toBeUndefined();
  clock.ms += 300_000;
  expect([observe(false), tracker.firing(), tracker.entries().length]).toEqual(['resolved', 0, 0]);
});

test('an alert is repeated every day, also after the clock was set back', () => {
  const { clock, observe } = start();
  expect(observe(true)).toBe('firing');
  clock.ms += 24 * HOUR - 1;
  expect(observe(undefined)).toBeUndefined();
  clock.ms += 1;
  expect(observe(undefined)).toBe('firing');
  clock.ms -= 48 * HOUR;
  expect(observe(true)).toBe('firing');
  expect(observe(true)).toBeUndefined();
});

test('what was delivered is not sent again after a restart, what was not is', () => {
  const first = start();
  first.tracker.apply('disk', [observation(true, 'a'), observation(true, 'b')]);
  const sent = first.tracker.pending();
  expect(sent?.key).toBe('a');
  if (sent) first.tracker.delivered(sent);
  const { observe, tracker } = start(first.tracker.entries());
  tracker.apply('disk', [observation(true, 'a'), observation(true, 'b')]);
  expect(tracker.pending()?.key).toBe('b');
  tracker.apply('disk', [observation(true, 'a')]); // nothing watches b any longer
  expect(tracker.pending()).toMatchObject({ key: 'b', status: 'resolved' });
  expect(observe(true, 'a')).toBe('resolved');
  expect(tracker.entries().map(({ key }) => key)).toEqual(['a']);
});

test('an alert that begins again before its end was delivered is one alert', () => {
  const { clock, tracker, observe } = start();
  expect(observe(true)).toBe('firing');
  tracker.apply('disk', []);
  const ended = tracker.pending();
  clock.ms += 1;
  expect(observe(true)).toBeUndefined();
  if (ended) tracker.delivered(ended); // it was being sent
  expect(tracker.pending()).toMatchObject({ status: 'firing', since: clock.ms });
});

test('ended alerts that cannot be delivered are bounded', () => {
  const { tracker } = start();
  for (let i = 0; i < 600; i++) {
    tracker.apply('silence', [observation(true, String(i))]);
  }
  expect([tracker.entries().length, tracker.dropped(), tracker.firingKeys('silence')]).toEqual([500, 100, ['599']]);
});
