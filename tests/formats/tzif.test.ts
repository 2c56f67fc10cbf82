import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { offsetAt, timeOf, type Zone } from '../../src/formats/time-zone.ts';
import { parseTzif } from '../../src/formats/tzif.ts';
import { temporaryFolder } from '../harness/target.ts';

const ZIC = ['/usr/sbin/zic', '/usr/bin/zic'].find(existsSync);
const PYTHON = '/usr/bin/python3';
const HOUR = 3_600_000_000;
const at = (text: string) => Date.parse(text) * 1000;

/** Compiles time zone database source whose last rules apply indefinitely, and parses the result. */
function compile(source: string, name: string): Zone {
  using folder = temporaryFolder();
  const path = join(folder.path, 'source');
  writeFileSync(path, `${source}\n`);
  const { exitCode, stderr } = Bun.spawnSync([ZIC ?? '', '-b', 'slim', '-d', folder.path, path]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return parseTzif(readFileSync(join(folder.path, name)), 2300);
}

describe.skipIf(!ZIC)('a file compiled by zic', () => {
  test('applies a last-Sunday rule after the listed transitions', () => {
    const zone = compile(
      `Rule E 1981 max - Mar lastSun 1:00u 1:00 S
Rule E 1996 max - Oct lastSun 1:00u 0 -
Zone Test/Berlin 1:00 E CE%sT`,
      'Test/Berlin',
    );
    expect(offsetAt(zone, at('2150-06-01T00:00:00Z'))).toBe(2 * HOUR);
    expect(offsetAt(zone, at('2150-12-01T00:00:00Z'))).toBe(HOUR);
    // 2150-03-29 and 2150-10-25 are the last Sundays
    expect(offsetAt(zone, at('2150-03-29T00:59:59Z'))).toBe(HOUR);
    expect(offsetAt(zone, at('2150-03-29T01:00:00Z'))).toBe(2 * HOUR);
    expect(offsetAt(zone, at('2150-10-25T01:00:00Z'))).toBe(HOUR);
  });

  test('applies southern-hemisphere, half-hour and negative daylight saving time', () => {
    const south = compile(
      `Rule L 2008 max - Apr Sun>=1 2:00 0 -
Rule L 2008 max - Oct Sun>=1 2:00 0:30 -
Zone Test/South 10:30 L -`,
      'Test/South',
    );
    expect(offsetAt(south, at('2100-01-01T00:00:00Z'))).toBe(11 * HOUR);
    expect(offsetAt(south, at('2100-06-01T00:00:00Z'))).toBe(10.5 * HOUR);
    const negative = compile(
      `Rule I 1971 max - Oct lastSun 2:00u -1:00 -
Rule I 1981 max - Mar lastSun 1:00u 0 -
Zone Test/Negative 1:00 I IST/GMT`,
      'Test/Negative',
    );
    expect(offsetAt(negative, at('2090-07-01T00:00:00Z'))).toBe(HOUR);
    expect(offsetAt(negative, at('2090-12-01T00:00:00Z'))).toBe(0);
  });

  test('keeps the last offset of a zone without daylight saving time', () => {
    const zone = compile('Zone Test/Fixed -3:30 - X 2026 Nov 1 9:00u\n -7:00 - Y', 'Test/Fixed');
    expect(offsetAt(zone, at('2026-11-01T08:59:59Z'))).toBe(-3.5 * HOUR);
    expect(offsetAt(zone, at('2200-11-01T09:00:00Z'))).toBe(-7 * HOUR);
  });
});

test.each(['', 'TZif', 'TZif1'.padEnd(100, '\0'), 'x'.repeat(100)])('rejects invalid file %#', (text) => {
  expect(() => parseTzif(Buffer.from(text, 'latin1'), 2300)).toThrow();
});

const SCRIPT = `
import datetime, json, sys, zoneinfo
utc = datetime.timezone.utc
result = {}
for name in sorted(zoneinfo.available_timezones()):
    zone = zoneinfo.ZoneInfo(name)
    offsets = []
    for step in range(0, 2400):
        # from 1850 to 2190, at odd hours
        time = datetime.datetime(1850, 1, 1, tzinfo=utc) + datetime.timedelta(hours=step * 1243 + 7)
        offsets.append(int(time.astimezone(zone).utcoffset().total_seconds()))
    result[name] = offsets
print(json.dumps(result))
`;

test.skipIf(!existsSync(PYTHON) || !existsSync('/usr/share/zoneinfo/tzdata.zi'))(
  "agrees with Python on every zone of the machine's time zone database",
  async () => {
    const child = Bun.spawn([PYTHON, '-c', SCRIPT], { env: { PYTHONTZPATH: '/usr/share/zoneinfo' }, stdout: 'pipe' });
    const expected = (await new Response(child.stdout).json()) as Record<string, number[]>;
    const different: string[] = [];
    for (const [name, offsets] of Object.entries(expected)) {
      const zone = parseTzif(readFileSync(`/usr/share/zoneinfo/${name}`), 2300);
      offsets.forEach((offset, step) => {
        const time = Date.UTC(1850, 0, 1, step * 1243 + 7) * 1000;
        if (offsetAt(zone, time) !== offset * 1e6) different.push(`${name} ${new Date(time / 1000).toISOString()}`);
      });
    }
    expect(Object.keys(expected).length).toBeGreaterThan(400);
    expect(different).toEqual([]);
  },
);

describe('timeOf', () => {
  const zone: Zone = {
    starts: [Number.NEGATIVE_INFINITY, at('2026-03-29T01:00:00Z'), at('2026-10-25T01:00:00Z')],
    offsets: [HOUR, 2 * HOUR, HOUR],
  };
  test('converts wall times that occur once, twice or never', () => {
    expect(timeOf(zone, at('2026-05-01T12:00:00Z'))).toBe(at('2026-05-01T10:00:00Z'));
    expect(timeOf(zone, at('2026-10-25T02:30:00Z'))).toBe(at('2026-10-25T00:30:00Z'));
    for (const skipped of ['02:00', '02:30', '02:59']) {
      expect(timeOf(zone, at(`2026-03-29T${skipped}:00Z`))).toBe(at('2026-03-29T01:00:00Z'));
    }
    expect(timeOf(zone, at('2026-03-29T03:00:00Z'))).toBe(at('2026-03-29T01:00:00Z'));
  });
});
