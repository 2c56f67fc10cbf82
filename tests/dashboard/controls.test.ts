import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { listedChoices } from '../../src/dashboard/page/controls/choices.ts';
import { addMonth, isSameMonth, monthDays, movedDay } from '../../src/dashboard/page/controls/days.ts';
import { fieldOf, fieldText, propertyPaths } from '../../src/dashboard/page/controls/property-paths.ts';
import { comparisonText, rangeText } from '../../src/dashboard/page/controls/range-text.ts';
import { zoneNamed } from './zones.ts';

const day = (text: string) => Date.parse(`${text}T00:00Z`);
const text = (at: number | undefined) => new Date(at ?? Number.NaN).toISOString().slice(0, 10);

describe('the calendar', () => {
  test('shows six whole weeks around every month, from the chosen first day', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -20_000, max: 60_000 }),
        fc.constantFrom('monday' as const, 'sunday' as const),
        (index, weekStart) => {
          const at = index * 86_400_000;
          const days = monthDays(at, weekStart);
          expect(days).toHaveLength(42);
          expect(new Date(days[0] ?? 0).getUTCDay()).toBe(weekStart === 'monday' ? 1 : 0);
          expect(days.filter((other) => isSameMonth(other, at))).toContain(at);
          expect(isSameMonth(days[6] ?? 0, at)).toBe(true);
        },
      ),
    );
  });

  test('moves by the keys of a date grid', () => {
    const from = day('2026-01-30'); // a Friday
    const moved = (key: string, shiftKey = false) => text(movedDay(from, { key, shiftKey }, 'monday'));
    expect([moved('ArrowLeft'), moved('ArrowRight'), moved('ArrowUp'), moved('ArrowDown')]).toEqual([
      '2026-01-29',
      '2026-01-31',
      '2026-01-23',
      '2026-02-06',
    ]);
    expect([moved('Home'), moved('End')]).toEqual(['2026-01-26', '2026-02-01']);
    expect([moved('PageUp'), moved('PageDown')]).toEqual(['2025-12-30', '2026-02-28']);
    expect([moved('PageUp', true), moved('PageDown', true)]).toEqual(['2025-01-30', '2027-01-30']);
    expect(text(movedDay(day('2026-02-01'), { key: 'Home', shiftKey: false }, 'sunday'))).toBe('2026-02-01');
    expect(movedDay(from, { key: 'Enter', shiftKey: false }, 'monday')).toBeUndefined();
    expect(text(addMonth(day('2024-02-29'), 12))).toBe('2025-02-28');
  });
});

describe('the text of a range', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const now = new Date('2026-05-12T10:00:00Z');
  const shown = (from: string, to: string, locale: string) =>
    rangeText({ from: new Date(from), to: new Date(to) }, berlin, now, locale).replaceAll(/\s/g, ' ');

  test('is in the format of the reader, without what goes without saying', () => {
    expect(shown('2026-03-01T00:00+01:00', '2026-03-08T00:00+01:00', 'en-US')).toBe('Mar 1 – 7');
    expect(shown('2026-03-01T00:00+01:00', '2026-03-08T00:00+01:00', 'en-GB')).toBe('1 – 7 Mar');
    expect(shown('2026-03-01T00:00+01:00', '2026-03-08T00:00+01:00', 'de')).toBe('1.–7. März');
    expect(shown('2025-12-30T00:00+01:00', '2026-01-02T00:00+01:00', 'en-US')).toBe('Dec 30, 2025 – Jan 1, 2026');
  });

  test('is a single date for a day, even for one without midnight', () => {
    expect(shown('2026-03-29T00:00+01:00', '2026-03-30T00:00+02:00', 'en-US')).toBe('Mar 29');
    const saoPaulo = zoneNamed('America/Sao_Paulo');
    const range = { from: new Date('2018-11-04T03:00:00Z'), to: new Date('2018-11-05T02:00:00Z') };
    expect(rangeText(range, saoPaulo, now, 'en-US')).toBe('Nov 4, 2018');
  });

  test('has times unless the days are whole', () => {
    expect(shown('2026-03-01T12:30+01:00', '2026-03-02T00:00+01:00', 'en-GB')).toBe('1 Mar, 12:30 – 2 Mar, 00:00');
    // in 24 hours, as on the axes
    expect(shown('2026-03-01T15:30+01:00', '2026-03-02T00:00+01:00', 'en-US')).toBe('Mar 1, 15:30 – Mar 2, 00:00');
  });

  test('names the comparison', () => {
    expect((['previous', 'year', 'weekdays'] as const).map(comparisonText)).toEqual([
      'vs previous',
      'vs previous year',
      'vs matching weekdays',
    ]);
  });
});

describe('choices of a combobox', () => {
  const zones = [
    'UTC',
    'Africa/Bissau',
    'America/New York',
    'America/Indiana/Knox',
    'Australia/Sydney',
    'Europe/Berlin',
  ];
  const types = ['page_view', 'view', 'signup'];
  const texts = (choices: readonly string[], draft: string | undefined, allowsOther = false) =>
    listedChoices(
      choices.map((text) => ({ value: text, text })),
      draft,
      allowsOther,
    ).map(({ text }) => text);

  test('are all listed until something is typed', () => {
    expect(texts(types, undefined)).toEqual(types);
    expect(texts(types, ' ')).toEqual(types);
  });

  test('are found by any of their words, those that begin with the search first', () => {
    expect(texts(zones, 'new y')).toEqual(['America/New York']);
    expect(texts(zones, 'new_y')).toEqual(['America/New York']);
    expect(texts(zones, 'au')).toEqual(['Australia/Sydney', 'Africa/Bissau']);
    expect(texts(zones, 'america knox')).toEqual(['America/Indiana/Knox']);
    expect(texts(types, 'view')).toEqual(['view', 'page_view']);
    expect(texts(['page_load_view', 'page_views', 'page_view'], 'page_view')).toEqual([
      'page_view',
      'page_views',
      'page_load_view',
    ]);
    expect(texts(['/docs/c', '/account', 'c', '/cart', '/checkout'], '/c')).toEqual([
      '/cart',
      '/checkout',
      'c',
      '/docs/c',
      '/account',
    ]);
    expect(texts(zones, 'mars')).toEqual([]);
  });

  test('include the typed text where any text can be chosen', () => {
    expect(texts(types, 'View', true)).toEqual(['view', 'page_view', 'Use “View”']);
    expect(texts(types, 'view', true)).toEqual(['view', 'page_view']);
    expect(texts(types, 'new', true)).toEqual(['Use “new”']);
  });
});

describe('filters', () => {
  test('offer the paths of texts, numbers and booleans, with dots in names escaped', () => {
    const data = [
      { plan: 'pro', cart: { total: 12.5, items: [1, 2] }, 'a.b': true },
      { plan: 'free', cart: { total: 3 }, nothing: null },
      { plan: 'free' },
      'no object',
    ];
    expect(propertyPaths(data)).toEqual(['data.plan', 'data.cart.total', 'data.a\\.b']);
    expect(propertyPaths([])).toEqual([]);
    expect(propertyPaths([{ big: JSON.rawJSON('12345678901234567890') }])).toEqual(['data.big']);
  });

  test('accept a property with or without its prefix', () => {
    expect(['Label', 'label', 'plan', 'data.plan', ' cart.total ', '', 'data.'].map(fieldOf)).toEqual([
      'label',
      'label',
      'data.plan',
      'data.plan',
      'data.cart.total',
      undefined,
      undefined,
    ]);
    expect([fieldText('label'), fieldText('data.cart.total')]).toEqual(['Label', 'cart.total']);
  });
});
