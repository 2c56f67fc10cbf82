import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { METRIC, post } from '../harness/client.ts';
import { clockAt, noClock } from '../harness/clock.ts';
import { type Dashboard, eventually, figures, signedIn, tableRows, unfold } from '../harness/dashboard.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Days of the calendar and the server's clock. The server's clock is half an hour before midnight in Berlin, on the
 * day on which clocks went back; the browser's is that of this machine.
 */

let target: Target;
let browser: Browser;
let admin: Dashboard;

beforeAll(async () => {
  if (noBrowser || noClock) return;
  [target, browser] = await Promise.all([
    startTarget({ ...UNLIMITED, ...clockAt('2025-10-26 22:30:00') }),
    startBrowser(),
  ]);
  const authorization = `Bearer ${await token({ sub: 'ada' })}`;
  const visits = (day: number, count: number) =>
    Array.from({ length: count }, (_, hour) => ({
      type: 'visit',
      data: {},
      data_index: 'page',
      timestamp: new Date(Date.UTC(2025, 9, day, 10 + hour)).toISOString(),
    }));
  const analytics = [
    ...[12, 13, 19, 20, 26].flatMap((day, i) => visits(day, i + 1)),
    { type: 'visit', data: {}, data_index: 'signup', timestamp: '2025-10-25T10:00:00Z' },
    { type: 'visit', data: {}, data_index: 'night', timestamp: '2025-10-26T00:10:00Z' },
    { type: 'visit', data: {}, data_index: 'night', timestamp: '2025-10-26T01:10:00Z' },
    { type: 'visit', data: {}, data_index: 'night', timestamp: '2025-10-26T01:20:00Z' },
  ];
  expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
  // the browser's own zone, whose clocks change by half an hour, must not matter
  admin = await signedIn(browser, target, undefined, { timezoneId: 'Australia/Lord_Howe' });
});
afterAll(async () => {
  expect(admin?.complaints ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const WEEK = { from: '2025-10-19T22:00:00Z', to: '2025-10-26T23:00:00Z' };
const place = (rest: Record<string, string>, tz = 'Europe/Berlin') =>
  `/?${new URLSearchParams({ view: 'event', name: 'visit', tz, refresh: '0', ...rest })}`;
const ends = async (page: Page, from: string, to: string) =>
  page.waitForURL(({ searchParams }) => searchParams.get('from') === from && searchParams.get('to') === to);
const labels = async (page: Page) => (await tableRows(page.locator('figure table'))).map(([label]) => label);

describe.skipIf(noBrowser !== undefined || noClock)('a local day is not 24 hours', () => {
  test('the period before a week in which clocks change is the week before, bucket beside bucket', async () => {
    const { page } = admin;
    admin.requested.length = 0;
    await admin.visit(place({ ...WEEK, interval: '1d', compare: '1' }));
    const before = page.locator('.figure', { hasText: 'Events' }).locator('small');
    // 13 to 19 October
    await eventually(page, async () => expect(await before.textContent()).toContain('before: 5'));
    expect(admin.requested.some((address) => address.includes('from=2025-10-12T22%3A00%3A00.000Z'))).toBe(true);
    await unfold(page);
    await eventually(page, async () =>
      expect((await tableRows(page.locator('figure table'))).map((row) => [row[0], row[1], row[3]])).toEqual([
        ['2025-10-20 00:00', 4, 2],
        ['2025-10-21 00:00', 0, 0],
        ['2025-10-22 00:00', 0, 0],
        ['2025-10-23 00:00', 0, 0],
        ['2025-10-24 00:00', 0, 0],
        ['2025-10-25 00:00', 1, 0],
        ['2025-10-26 00:00', 8, 3],
      ]),
    );
  });

  test('earlier, later, shift with arrows, plus and minus go by local days', async () => {
    const { page } = admin;
    await admin.visit(place({ ...WEEK, interval: '1d' }));
    await page.click('button[aria-label=Later]');
    await ends(page, '2025-10-26T23:00:00.000Z', '2025-11-02T23:00:00.000Z');
    await page.click('button[aria-label=Earlier]');
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-10-12T22:00:00.000Z', '2025-10-19T22:00:00.000Z');
    await admin.visit(place({ ...WEEK, interval: '1d' }));
    await page.locator('.plot').focus();
    await page.keyboard.press('Shift+ArrowRight');
    await ends(page, '2025-10-21T22:00:00.000Z', '2025-10-28T23:00:00.000Z');
    await admin.visit(place({ ...WEEK, interval: '1d' }));
    await page.locator('.plot').focus();
    await page.keyboard.press('-');
    await ends(page, '2025-10-15T22:00:00.000Z', '2025-10-29T23:00:00.000Z');
    // clocks in Santiago skip midnight on the 7th of September
    await admin.visit(
      place({ from: '2025-09-07T04:00:00Z', to: '2025-09-08T03:00:00Z', interval: '1d' }, 'America/Santiago'),
    );
    await page.click('button[aria-label=Later]');
    await ends(page, '2025-09-08T03:00:00.000Z', '2025-09-09T03:00:00.000Z');
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-09-07T04:00:00.000Z', '2025-09-08T03:00:00.000Z');
  });

  test('a day of retention is not over until its local midnight', async () => {
    const { page } = admin;
    const cell = page.locator('table.cohorts tbody tr', { hasText: '2025-10-25' }).locator('td').nth(1);
    await admin.visit(place({ range: '7d', retention: 'signup' }));
    await eventually(page, async () => expect(await cell.textContent()).toBe('100%…'));
    expect(await cell.getAttribute('title')).toContain('the day is not over');
    await admin.visit(place({ ...WEEK, retention: 'signup' }));
    await eventually(page, async () => expect(await cell.textContent()).toBe('100%'));
  });

  test('a range that ends now begins at the same time of day', async () => {
    const { page } = admin;
    admin.requested.length = 0;
    await admin.visit(place({ range: '7d' }));
    const hour = /from=2025-10-19T21%3A3\d/; // 23:30 in Berlin, as now, which is 22:30 in UTC
    await eventually(page, async () => expect(admin.requested.filter((address) => hour.test(address))).not.toEqual([]));
  });
});

describe.skipIf(noBrowser !== undefined || noClock)('hours that clocks show twice', () => {
  const NIGHT = { from: '2025-10-25T22:00:00Z', to: '2025-10-26T03:00:00Z' };
  const HOURS = ['00:00', '01:00', '02:00 +02:00', '02:00 +01:00', '03:00'].map((hour) => `2025-10-26 ${hour}`);

  test('are told apart by their offset in tables, under the pointer, in rows and in the range', async () => {
    const { page } = admin;
    await admin.visit(place({ ...NIGHT, interval: '1h' }));
    await unfold(page);
    await eventually(page, async () => expect(await labels(page)).toEqual(HOURS));
    await page.locator('.plot').focus();
    for (const hour of HOURS) {
      await page.keyboard.press('ArrowRight');
      await eventually(page, async () => expect(await page.textContent('.pointed')).toStartWith(`${hour},`));
    }
    await admin.visit(place({ ...NIGHT, view: 'records', kind: 'analytics' }));
    await eventually(page, async () =>
      expect(await page.locator('td.time').allTextContents()).toEqual([
        '2025-10-26 02:20:00.000 +01:00',
        '2025-10-26 02:10:00.000 +01:00',
        '2025-10-26 02:10:00.000 +02:00',
      ]),
    );
    await page.getByRole('textbox', { name: 'From' }).fill('2025-10-26T02:00');
    await page.getByRole('combobox', { name: 'From: UTC offset' }).selectOption({ label: '+01:00' });
    await page.click('fieldset button:has-text("Show")');
    await ends(page, '2025-10-26T01:00:00.000Z', '2025-10-26T03:00:00.000Z');
    await eventually(page, async () => expect(await page.locator('td.time').count()).toBe(2));
  });

  test('and all days are those of the server, whatever rules the browser has', async () => {
    const other = await signedIn(browser, target);
    const { page } = other;
    // a browser that knows nothing of summer time in Berlin
    await page.addInitScript(() => {
      const Format = Intl.DateTimeFormat;
      const replaced = (options?: Intl.DateTimeFormatOptions) =>
        options?.timeZone === 'Europe/Berlin' ? { ...options, timeZone: 'Etc/GMT-1' } : options;
      Object.assign(Intl, {
        DateTimeFormat: function DateTimeFormat(locale?: string, options?: Intl.DateTimeFormatOptions) {
          return new Format(locale, replaced(options));
        },
      });
    });
    await other.visit(place({ ...NIGHT, interval: '1h' }));
    await unfold(page);
    await eventually(page, async () => expect(await labels(page)).toEqual(HOURS));
    await other.visit(place({ ...WEEK, interval: '1d' }));
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-10-12T22:00:00.000Z', '2025-10-19T22:00:00.000Z');
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined || noClock)('now is what the server says', () => {
  test('a row that was just stored is in the last hour, with a browser a year ahead or ten minutes behind', async () => {
    const { body: id } = await post(target, '/log_raw_metric', METRIC, {
      authorization: `Bearer ${await token({ sub: 'ada' })}`,
    });
    const ten = await signedIn(browser, target);
    await ten.page.clock.install({ time: new Date('2025-10-26T22:20:00Z') });
    for (const { page, visit } of [admin, ten]) {
      await visit('/?range=1h&tz=UTC&refresh=0');
      await eventually(page, async () =>
        expect(await figures(page)).toMatchObject({
          'In the last minute': 1,
          'In the last 24 hours': 9,
          'In this range': 1,
        }),
      );
      await visit('/?view=records&range=1h&tz=UTC&refresh=0');
      await page.waitForSelector(`tr[data-id="${id}"]`);
    }
    expect(ten.complaints).toEqual([]);
    await ten.page.context().close();
  });
});
