import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { formatTimestamp, formatWithOffset, parseTimestamp } from '../../src/formats/timestamp.ts';

test('every time that is parsed is RFC 3339 again, in any time zone', () => {
  for (const text of [
    '0000-01-01T00:00:00Z',
    '0000-01-01T23:59:00+23:59',
    '9999-12-31T23:59:59Z',
    '9999-12-31T23:59:59.999999Z',
    '9999-12-31T00:00:00-23:59',
  ]) {
    const time = parseTimestamp(text) ?? Number.NaN;
    expect(formatTimestamp(time)).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    for (const hours of [-18, -1, 1, 18]) {
      const formatted = formatWithOffset(time, hours * 3_600e6);
      expect(formatted).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/);
      expect(parseTimestamp(formatted)).toBe(time);
    }
  }
});

describe('parseTimestamp', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0],
    ['1970-01-01T00:00:00.000001Z', 1],
    ['1970-01-01T00:00:00.1234569Z', 123456],
    ['1970-01-01 01:00:00+01:00', 0],
    ['1969-12-31T16:00:00-08:00', 0],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000_000],
    ['2000-02-29T12:00:00z', Date.UTC(2000, 1, 29, 12) * 1000],
  ])('parses %s', (text, microseconds) => expect(parseTimestamp(text)).toBe(microseconds));

  test.each([
    '',
    '1970-01-01',
    '1970-01-01T00:00:00',
    '1970-01-01T00:00Z',
    '1970-1-1T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '1970-00-01T00:00:00Z',
    '1970-01-00T00:00:00Z',
    '1970-04-31T00:00:00Z',
    '1970-01-01T24:00:00Z',
    '1970-01-01T00:60:00Z',
    '1970-01-01T00:00:60Z',
    '1970-01-01T00:00:00.Z',
    '1970-01-01T00:00:00+0100',
    '1970-01-01T00:00:00+24:00',
    '1970-01-01T00:00:00+01:60',
    '+001970-01-01T00:00:00Z',
    '9999-12-31T23:59:59-00:01',
    '9999-12-31T23:59:59-01:00',
    '0000-01-01T00:00:00+00:01',
    '0000-01-01T23:58:59.999999+23:59',
    ' 1970-01-01T00:00:00Z',
    '1970-01-01T00:00:00Z\n',
    '١٩٧٠-01-01T00:00:00Z',
  ])('rejects %p', (text) => expect(parseTimestamp(text)).toBeUndefined());

  test('agrees with Temporal for every time and offset', () => {
    const instant = fc.date({
      min: new Date('1700-01-01T00:00:00Z'),
      max: new Date('9000-01-01T00:00:00Z'),
      noInvalidDate: true,
    });
    const minutes = fc.integer({ min: -23 * 60 - 59, max: 23 * 60 + 59 });
    fc.assert(
      fc.property(instant, minutes, fc.nat(999_999), (date, offset, fraction) => {
        const pad = (value: number) => String(Math.abs(value)).padStart(2, '0');
        const zone = `${offset < 0 ? '-' : '+'}${pad(Math.trunc(offset / 60))}:${pad(offset % 60)}`;
        const text = `${date.toISOString().slice(0, 19)}.${String(fraction).padStart(6, '0')}${zone}`;
        expect(parseTimestamp(text)).toBe(Number(Temporal.Instant.from(text).epochNanoseconds / 1000n));
      }),
    );
  });
});
