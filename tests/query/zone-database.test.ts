import { expect, test } from 'bun:test';
import { offsetAt } from '../../src/formats/time-zone.ts';
import { zoneNamed } from '../../src/query/zone-database.ts';

test('agrees with the runtime, except for rules that changed after its release', () => {
  const different = new Map<string, string>();
  for (const name of Intl.supportedValuesOf('timeZone')) {
    const zone = zoneNamed(name);
    if (!zone) {
      different.set(name, 'missing');
      continue;
    }
    // from 1972, since the database's earlier data is corrected frequently
    for (let time = Date.UTC(1972, 0, 1, 5); time < Date.UTC(2290, 0, 1); time += 2_000_000_000) {
      const offset = Temporal.Instant.fromEpochMilliseconds(time).toZonedDateTimeISO(name).offsetNanoseconds / 1000;
      if (offsetAt(zone, time * 1000) === offset) continue;
      different.set(name, new Date(time).toISOString());
      break;
    }
  }
  // rule changes are announced in advance, so nothing before 2025 differs
  for (const [name, since] of different) expect(`${name} ${since}`).toMatch(/^\S+ 20(2[5-9]|[3-9]\d)/);
  expect(different.size).toBeLessThan(30);
});

test.each([
  'UTC',
  'Europe/Berlin',
  'europe/berlin',
  'US/Pacific',
  'Etc/GMT+5',
  'America/Argentina/Buenos_Aires',
  'GMT',
])('finds %s', (name) => expect(zoneNamed(name)).toBeDefined());

test('returns the same zone regardless of letter case', () => {
  for (const name of ['europe/berlin', 'EUROPE/BERLIN', 'eUrOpE/bErLiN']) {
    expect(zoneNamed(name)).toBe(zoneNamed('Europe/Berlin'));
  }
});

test.each([
  '',
  'Nowhere',
  'Europe_Berlin',
  'europe_berlin',
  'Europe',
  '+01:00',
  '../UTC',
  'right/UTC',
  'posixrules',
  '__proto__',
  'constructor',
])('does not find %p', (name) => expect(zoneNamed(name)).toBeUndefined());
