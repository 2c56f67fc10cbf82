import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { METRIC, post } from '../harness/client.ts';
import { clockAt, isFaketimeMissing } from '../harness/clock.ts';
import {
  type Dashboard,
  eventually,
  expandDetails,
  openRange,
  readFigures,
  signIn,
  tableRows,
} from '../harness/dashboard.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Calendar days and the server's clock. The server's clock is set to half an hour before midnight in Berlin, on the day
 * clocks went back; the browser uses the clock of this machine.
 */

let target: Target;
let browser: Browser;
let admin: Dashboard;

beforeAll(async () => {
  if (noBrowser || isFaketimeMissing) return;
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
  // the browser's time zone, whose clocks change by half an hour, must not matter
  admin = await signIn(browser, target, undefined, { timezoneId: 'Australia/Lord_Howe' });
});
afterAll(async () => {
  expect(admin?.consoleErrors ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const WEEK = { from: '2025-10-19T22:00:00Z', to: '2025-10-26T23:00:00Z' };
const path = (parameters: Record<string, string>, tz = 'Europe/Berlin') =>
  `/?${new URLSearchParams({ view: 'event', name: 'visit', tz, refresh: '0', ...parameters })}`;
const ends = async (page: Page, from: string, to: string) =>
  page.waitForURL(({ searchParams }) => searchParams.get('from') === from && searchParams.get('to') === to);
const labels = async (page: Page) => (await tableRows(page.locator('figure table'))).map(([label]) => label);

describe.skipIf(noBrowser !== undefined || isFaketimeMissing)('local days that are not 24 hours long', () => {
  test('the previous period of a week in which clocks change is the week before, with aligned buckets', async () => {
    const { page } = admin;
    admin.requestedUrls.length = 0;
    await admin.visit(path({ ...WEEK, interval: '1d', compare: 'previous' }));
    const before = page.locator('.figure', { hasText: 'Events' }).locator('small');
    // 13 to 19 October
    await eventually(page, async () => expect(await before.textContent()).toContain('previously 5'));
    expect(admin.requestedUrls.some((url) => url.includes('from=2025-10-12T22%3A00%3A00.000Z'))).toBe(true);
    await expandDetails(page);
    await eventually(page, async () =>
      expect((await tableRows(page.locator('figure table'))).map((row) => row.slice(0, 3))).toEqual([
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

  test('paging, panning and zooming move by local days', async () => {
    const { page } = admin;
    await admin.visit(path({ ...WEEK, interval: '1d' }));
    // there is nothing after the current week
    await eventually(page, async () => expect(await page.locator('button[aria-label=Later]').isDisabled()).toBe(true));
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-10-12T22:00:00.000Z', '2025-10-19T22:00:00.000Z');
    await page.click('button[aria-label=Later]');
    await ends(page, '2025-10-19T22:00:00.000Z', '2025-10-26T23:00:00.000Z');
    await admin.visit(path({ ...WEEK, interval: '1d' }));
    await page.locator('.plot').focus();
    await page.keyboard.press('Shift+ArrowRight');
    await ends(page, '2025-10-21T22:00:00.000Z', '2025-10-28T23:00:00.000Z');
    await admin.visit(path({ ...WEEK, interval: '1d' }));
    await page.locator('.plot').focus();
    await page.keyboard.press('-');
    await ends(page, '2025-10-15T22:00:00.000Z', '2025-10-29T23:00:00.000Z');
    // clocks in Santiago skip midnight on the 7th of September
    await admin.visit(
      path({ from: '2025-09-07T04:00:00Z', to: '2025-09-08T03:00:00Z', interval: '1d' }, 'America/Santiago'),
    );
    await page.click('button[aria-label=Later]');
    await ends(page, '2025-09-08T03:00:00.000Z', '2025-09-09T03:00:00.000Z');
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-09-07T04:00:00.000Z', '2025-09-08T03:00:00.000Z');
  });

  test('a day of cohort retention is over at local midnight', async () => {
    const { page } = admin;
    const cell = page.locator('table.cohorts tbody tr', { hasText: '2025-10-25' }).locator('td').nth(1);
    await admin.visit(path({ view: 'retention', range: '7d', retention: 'visit:signup', returning: 'visit' }));
    await eventually(page, async () => expect(await cell.textContent()).toBe('100%…'));
    expect(await cell.getAttribute('title')).toContain('the day is not over');
    await admin.visit(path({ ...WEEK, view: 'retention', retention: 'visit:signup', returning: 'visit' }));
    await eventually(page, async () => expect(await cell.textContent()).toBe('100%'));
  });

  test('a relative range of days begins at local midnight', async () => {
    const { page } = admin;
    admin.requestedUrls.length = 0;
    await admin.visit(path({ range: '7d' }));
    const from = /from=2025-10-19T22%3A00%3A00/; // the 20th in Berlin: today is the last of the seven days
    await eventually(page, async () => expect(admin.requestedUrls.filter((url) => from.test(url))).not.toEqual([]));
  });
});

describe.skipIf(noBrowser !== undefined || isFaketimeMissing)('hours that occur twice', () => {
  const NIGHT = { from: '2025-10-25T22:00:00Z', to: '2025-10-26T03:00:00Z' };
  const HOURS = ['00:00', '01:00', '02:00 +02:00', '02:00 +01:00', '03:00'].map((hour) => `2025-10-26 ${hour}`);

  test('show their UTC offset in tables, under the pointer, in rows and in the range', async () => {
    const { page } = admin;
    await admin.visit(path({ ...NIGHT, interval: '1h' }));
    await expandDetails(page);
    await eventually(page, async () => expect(await labels(page)).toEqual(HOURS));
    await page.locator('.plot').focus();
    for (const hour of HOURS) {
      await page.keyboard.press('ArrowRight');
      await eventually(page, async () => expect(await page.textContent('.pointed')).toStartWith(`${hour},`));
    }
    await admin.visit(path({ ...NIGHT, view: 'records', kind: 'analytics' }));
    await eventually(page, async () =>
      expect(await page.locator('td.time').allTextContents()).toEqual([
        '2025-10-26 02:20:00.000 +01:00',
        '2025-10-26 02:10:00.000 +01:00',
        '2025-10-26 02:10:00.000 +02:00',
      ]),
    );
    const panel = await openRange(page);
    await panel.getByRole('textbox', { name: 'From' }).fill('2025-10-26T02:00');
    await panel.getByRole('combobox', { name: 'From: UTC offset' }).selectOption({ label: '+01:00' });
    await panel.getByRole('button', { name: 'Apply' }).click();
    await ends(page, '2025-10-26T01:00:00.000Z', '2025-10-26T03:00:00.000Z');
    await eventually(page, async () => expect(await page.locator('td.time').count()).toBe(2));
  });

  test("follow the server's time zone data, not the browser's", async () => {
    const other = await signIn(browser, target);
    const { page } = other;
    // a browser without daylight saving time in Berlin
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
    await other.visit(path({ ...NIGHT, interval: '1h' }));
    await expandDetails(page);
    await eventually(page, async () => expect(await labels(page)).toEqual(HOURS));
    await other.visit(path({ ...WEEK, interval: '1d' }));
    await page.click('button[aria-label=Earlier]');
    await ends(page, '2025-10-12T22:00:00.000Z', '2025-10-19T22:00:00.000Z');
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined || isFaketimeMissing)('the clock of the server', () => {
  test('puts a new row in the last hour even if the browser clock is a year fast or ten minutes slow', async () => {
    const { body: id } = await post(target, '/log_raw_metric', METRIC, {
      authorization: `Bearer ${await token({ sub: 'ada' })}`,
    });
    const ten = await signIn(browser, target);
    await ten.page.clock.install({ time: new Date('2025-10-26T22:20:00Z') });
    for (const { page, visit } of [admin, ten]) {
      await visit('/?view=health&range=1h&tz=UTC&refresh=0');
      await eventually(page, async () =>
        expect(await readFigures(page)).toMatchObject({
          'Rows in the last minute': 1,
          'Rows in the last 24 hours': 9,
          'Rows in this range': 1,
        }),
      );
      await visit('/?view=records&range=1h&tz=UTC&refresh=0');
      await page.waitForSelector(`tr[data-id="${id}"]`);
    }
    expect(ten.consoleErrors).toEqual([]);
    await ten.page.context().close();
  });
});
