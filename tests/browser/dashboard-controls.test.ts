import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import {
  addFilter,
  chooseComparison,
  chooseRange,
  type Dashboard,
  eventually,
  get,
  openAccount,
  openOptions,
  openRange,
  readFigures,
  removeFilter,
  signIn,
  tableRows,
  waitUntilLoaded,
} from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The header, the control bar and the keyboard shortcuts.
 */

let target: Target;
let browser: Browser;
let admin: Dashboard;

/** A time in the middle of the range that filters are tested with. */
const TIME = '2026-03-01T10:00:00Z';
const RANGE = { from: '2026-03-01T00:00:00Z', to: '2026-03-02T00:00:00Z' };

beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await recordProduct(target, { users: 3, days: 3, rowsPerDay: 4 });
  const purchase = (plan: string, data_index: string) => ({
    type: 'purchase',
    data: { plan, cart: { total: 3 } },
    data_index,
    timestamp: TIME,
  });
  const analytics = [
    ...['pro', 'pro', 'pro', 'team', 'team', 'free'].map((plan) => purchase(plan, 'web')),
    ...['pro', 'free'].map((plan) => purchase(plan, '')),
  ];
  const authorization = `Bearer ${await token({ sub: 'ada' })}`;
  expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
  admin = await signIn(browser, target, undefined, { locale: 'en-GB' });
});
afterAll(async () => {
  expect(admin?.consoleErrors ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const WEEK_MS = 7 * 86_400_000;
const query = (page: Page) => new URL(page.url()).searchParams;
const path = (parameters: Record<string, string>) =>
  `/?${new URLSearchParams({ tz: 'UTC', week: 'monday', refresh: '0', ...parameters })}`;
const focused = (page: Page) => page.evaluate('document.activeElement.textContent');

describe.skipIf(noBrowser !== undefined)('the range', () => {
  test('is one button, whose panel closes on Escape and returns the focus', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '7d' }));
    const button = page.getByRole('button', { name: 'Range: Last 7 days' });
    await button.focus();
    await page.keyboard.press('Enter');
    const panel = page.getByRole('dialog', { name: 'Range and comparison' });
    await panel.waitFor();
    // the focus is on the selected range
    await eventually(page, async () => expect(await focused(page)).toStartWith('Last 7 days'));
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
    await eventually(page, async () => expect(await focused(page)).toContain('Range: Last 7 days'));
  });

  test('can be any of the named ones, and is compared in the same panel', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '7d' }));
    const button = page.getByRole('button', { name: 'Range: ' });
    for (const [label, range] of [
      ['Today', 'today'],
      ['This month', 'this-month'],
      ['Last week', 'last-week'],
      ['All time', 'all'],
      ['Last 30 days', '30d'],
    ] as const) {
      await chooseRange(page, label);
      await page.waitForURL(({ searchParams }) => searchParams.get('range') === range);
      await eventually(page, async () => expect(await button.textContent()).toBe(`Range: ${label}`));
    }
    await chooseComparison(page, 'Matching weekdays');
    expect(query(page).get('compare')).toBe('weekdays');
    await eventually(page, async () =>
      expect(await button.textContent()).toBe('Range: Last 30 days vs matching weekdays'),
    );
    expect(await button.getAttribute('title')).toMatch(/^\d.*, compared with \d.* \(UTC\)$/);
    await chooseComparison(page, 'Previous period');
    expect(query(page).get('compare')).toBe('previous');
    // the overview always compares
    expect(await (await openRange(page)).getByRole('radio', { name: 'None' }).count()).toBe(0);
    await admin.visit(path({ view: 'event', name: 'purchase', compare: 'previous', range: '30d' }));
    await chooseComparison(page, 'None');
    expect(query(page).has('compare')).toBe(false);
  });

  test('can be picked in a calendar, with the mouse or the keyboard', async () => {
    const { page } = admin;
    await admin.visit(path({ ...RANGE, range: 'custom' }));
    const panel = await openRange(page);
    expect(await panel.locator('.month-head').textContent()).toContain('March 2026');
    const day = (name: string) => panel.getByRole('button', { name, exact: true });
    await day('Thursday, 12 March 2026').or(day('Thursday 12 March 2026')).click();
    await day('Monday, 9 March 2026').or(day('Monday 9 March 2026')).click();
    await eventually(page, async () => expect(await panel.locator('[aria-selected=true]').count()).toBe(4));
    expect((await panel.locator('output').textContent())?.replaceAll(/\s/g, ' ')).toBe('9 – 12 Mar');
    await panel.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('from') === '2026-03-09T00:00:00.000Z');
    expect(query(page).get('to')).toBe('2026-03-13T00:00:00.000Z');

    await openRange(page);
    // the grid is a single tab stop
    expect(await panel.locator('[role=grid] [tabindex="0"]').count()).toBe(1);
    await panel.locator('[role=grid] [tabindex="0"]').focus();
    for (const key of ['PageUp', 'Home', 'Enter', 'ArrowDown', 'End', 'Enter']) await page.keyboard.press(key);
    // 12 February, the Monday before, and the Sunday of the week after
    await eventually(page, async () => expect(await panel.locator('[aria-selected=true]').count()).toBe(14));
    await panel.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('from') === '2026-02-09T00:00:00.000Z');
    expect(query(page).get('to')).toBe('2026-02-23T00:00:00.000Z');
    await eventually(page, async () =>
      expect((await page.textContent('.range-button'))?.replaceAll(/\s/g, ' ')).toBe('Range: 9 – 22 Feb'),
    );
  });

  test('moves to the whole day before today', async () => {
    const { page } = admin;
    await admin.visit(path({ range: 'today' }));
    await page.getByRole('button', { name: 'Earlier' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.has('from'));
    const [from, to] = ['from', 'to'].map((name) => Date.parse(query(page).get(name) ?? ''));
    expect((to ?? 0) - (from ?? 0)).toBe(86_400_000);
    expect((to ?? 0) % 86_400_000).toBe(0);
  });
});

describe.skipIf(noBrowser !== undefined)('filters', () => {
  const counts = async (parameters: Record<string, string | readonly string[]>) =>
    (await get(target, '/api/analytics/counts', { type: 'purchase', ...RANGE, ...parameters })).count;
  const shows = (page: Page, count: number) =>
    eventually(page, async () => expect((await readFigures(page))['Events']).toBe(count));

  test('are chips that are added in a panel, removed one by one, and kept in the URL', async () => {
    const { page } = admin;
    await admin.visit(path({ view: 'event', name: 'purchase', ...RANGE }));
    await shows(page, 8);
    await addFilter(page, 'plan', 'is', 'pro');
    await shows(page, await counts({ 'data.plan': 'pro' }));
    await addFilter(page, 'data.plan', 'is', 'free');
    await shows(page, await counts({ 'data.plan': ['pro', 'free'] }));
    await addFilter(page, 'Label', 'is not', '');
    await shows(page, await counts({ 'data.plan': ['pro', 'free'], 'data_index!': '' }));
    const chips = page.getByRole('list', { name: 'Filters' }).getByRole('listitem');
    await eventually(page, async () =>
      expect((await chips.allTextContents()).map((text) => text.replaceAll(/\s+/g, ' '))).toEqual([
        'plan isproorfree',
        'Label is not(empty)',
      ]),
    );
    await page.reload();
    await waitUntilLoaded(page);
    await shows(page, 4);
    await removeFilter(page, 'plan is pro');
    await shows(page, 1);
    await removeFilter(page, 'plan is free');
    await removeFilter(page, 'Label is not (empty)');
    await shows(page, 8);
    await addFilter(page, 'cart.total', 'is', '3');
    await addFilter(page, 'Label', 'contains', 'we');
    await shows(page, await counts({ 'data.cart.total': '3', 'data_index~': 'we' }));
    expect(query(page).get('label~')).toBe('we');
  });

  test('offer the properties and values that were recorded', async () => {
    const { page } = admin;
    await admin.visit(path({ view: 'event', name: 'purchase', ...RANGE }));
    await page.getByRole('button', { name: 'Add filter' }).click();
    const panel = page.getByRole('dialog', { name: 'Add filter' });
    const offered = (id: string) =>
      panel.locator(`#${id} option`).evaluateAll((options) => options.map((option) => option.getAttribute('value')));
    await eventually(page, async () => expect(await offered('filter-fields')).toEqual(['Label', 'plan', 'cart.total']));
    await panel.getByRole('combobox', { name: 'Field' }).fill('plan');
    await eventually(page, async () => expect(await offered('filter-values')).toEqual(['pro', 'team', 'free']));
    await page.keyboard.press('Escape');
  });

  test('include the user, and metrics have only labels', async () => {
    const { page } = admin;
    await admin.visit(path({ view: 'metric', name: 'page_load_time', user: 'user-1', range: 'all' }));
    await page.getByRole('button', { name: 'Add filter' }).click();
    const panel = page.getByRole('dialog', { name: 'Add filter' });
    await panel.getByRole('combobox', { name: 'Value' }).waitFor();
    expect(await panel.getByRole('combobox', { name: 'Field' }).count()).toBe(0);
    await page.keyboard.press('Escape');
    await removeFilter(page, 'User is user-1');
    await page.waitForURL(({ searchParams }) => !searchParams.has('user'));
  });
});

describe.skipIf(noBrowser !== undefined)('the frame', () => {
  test('offers only the controls that the view uses', async () => {
    const { page } = admin;
    const names = async () => {
      const buttons = await page.locator('.controls button').allTextContents();
      const panel = await openOptions(page);
      const fields = await panel.locator('label, legend').allTextContents();
      await page.keyboard.press('Escape');
      await panel.waitFor({ state: 'hidden' });
      return [...buttons, ...fields].join(', ');
    };
    await admin.visit(path({ view: 'boards' }));
    expect(await names()).not.toMatch(/Range|Interval|Logarithmic|First day|Add filter/);
    await admin.visit(path({ view: 'funnel' }));
    expect(await names()).not.toMatch(/Interval|Logarithmic/);
    await admin.visit(path({ view: 'metric', name: 'page_load_time' }));
    expect(await names()).toMatch(/Add filter.*Interval.*Logarithmic axis.*User.*Time zone.*First day/s);
  });

  test('copies a link to the dates that are shown, or to the range by its name', async () => {
    const { page } = admin;
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await admin.visit(path({ view: 'event', name: 'purchase', range: '24h' }));
    const copied = async () => {
      await page.getByRole('button', { name: 'Copy', exact: true }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      return new URL(await page.evaluate(() => navigator.clipboard.readText()));
    };
    await page.keyboard.press('l');
    const { searchParams: fixed } = await copied();
    expect(fixed.get('name')).toBe('purchase');
    expect(Date.parse(fixed.get('to') ?? '') - Date.parse(fixed.get('from') ?? '')).toBe(86_400_000);
    expect(fixed.get('interval')).toBe('15m');
    expect(fixed.get('span')).toBe('24h');
    const panel = page.getByRole('dialog', { name: 'Copy link' });
    await panel.getByRole('radio', { name: 'Last 24 hours' }).check();
    const moving = await copied();
    expect(moving.href).toBe(page.url());
    await page.keyboard.press('Escape');

    await admin.visit(path({ view: 'event', name: 'purchase', ...RANGE }));
    await page.getByRole('button', { name: 'Copy link' }).click();
    expect((await copied()).href).toBe(page.url());
    await page.keyboard.press('Escape');

    // also the figures that this week is compared with, up to the same time last week
    await admin.visit(path({ view: 'event', name: 'page_view', range: '7d', compare: 'previous' }));
    await page.getByRole('button', { name: 'Copy link' }).click();
    const link = await copied();
    const [from, to] = ['from', 'to'].map((name) => Date.parse(link.searchParams.get(name) ?? ''));
    const week = { from: new Date(from ?? 0).toISOString(), to: new Date(to ?? 0).toISOString() };
    const previous = await get(target, '/api/analytics/counts', {
      type: 'page_view',
      ...{ from: new Date((from ?? 0) - WEEK_MS).toISOString(), to: new Date((to ?? 0) - WEEK_MS).toISOString() },
    });
    const shown = {
      Events: (await get(target, '/api/analytics/counts', { type: 'page_view', ...week })).count,
    };
    expect(shown.Events).toBeGreaterThan(10);
    const colleague = await signIn(browser, target, { sub: 'bob', role: 'admin' });
    await colleague.visit(link.pathname + link.search);
    await eventually(colleague.page, async () => {
      expect(await readFigures(colleague.page)).toMatchObject(shown);
      expect(await colleague.page.locator('.figure .before').first().textContent()).toBe(
        `previously ${previous.count}`,
      );
    });
    expect(colleague.consoleErrors).toEqual([]);
    await colleague.page.context().close();
  });

  test('sorts labels by any column, in both directions and as before', async () => {
    const { page } = admin;
    const earlier = [...Array(5).fill('pro'), ...Array(8).fill('team'), 'free'].map((plan) => ({
      type: 'purchase',
      data: { plan },
      timestamp: '2026-02-28T10:00:00Z',
    }));
    const authorization = `Bearer ${await token({ sub: 'ada' })}`;
    expect((await post(target, '/log_batch', { analytics: earlier }, { authorization })).status).toBe(200);
    const view = { view: 'event', name: 'purchase', property: 'data.plan', compare: 'previous', ...RANGE };
    await admin.visit(path(view));
    const table = page.locator('section:has(#by-group) table');
    const plans = async () => (await tableRows(table)).map(([plan]) => plan);
    const heading = (name: string) => table.getByRole('columnheader', { name });
    const expectOrder = (expected: string[]) => eventually(page, async () => expect(await plans()).toEqual(expected));
    await eventually(page, async () =>
      expect((await tableRows(table)).map((cells) => String(cells.at(-1)).slice(0, 7).trim())).toEqual([
        expect.stringContaining('▼ 20%'), // 4 after 5
        expect.stringContaining('▼ 75%'), // 2 after 8
        expect.stringContaining('▲ 100%'), // 2 after 1
      ]),
    );
    await expectOrder(['pro', 'team', 'free']);
    await heading('Change').getByRole('button').click();
    await expectOrder(['free', 'pro', 'team']);
    expect(await heading('Change').getAttribute('aria-sort')).toBe('descending');
    await heading('Change').getByRole('button').click();
    await expectOrder(['team', 'pro', 'free']);
    expect(query(page).get('sort')).toBe('-change');
    await page.reload();
    await expectOrder(['team', 'pro', 'free']);
    await heading('Change').getByRole('button').click();
    await expectOrder(['pro', 'team', 'free']);
    expect(await heading('Change').getAttribute('aria-sort')).toBeNull();
    // what the others sum up to stays last
    await admin.visit(path({ ...view, top: '2', sort: '-count' }));
    await expectOrder(['team', 'pro', '1 other']);
  });

  test('searches time zones by any part of their names', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '7d' }));
    const panel = await openOptions(page);
    const field = panel.getByRole('combobox', { name: 'Time zone' });
    await field.click();
    await page.keyboard.type('new y');
    await eventually(page, async () => expect(await panel.locator('[role=option]').count()).toBe(1));
    await page.keyboard.press('Enter');
    await page.waitForURL(({ searchParams }) => searchParams.get('tz') === 'America/New_York');
    // Escape closes the list first, then the panel
    await page.keyboard.type('x');
    await page.keyboard.press('Escape');
    expect(await panel.isVisible()).toBe(true);
    expect(await field.inputValue()).toBe('America/New York');
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
  });

  test('shows the account with its role, and a theme as three choices', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '7d' }));
    const panel = await openAccount(page);
    expect(await panel.locator('p').textContent()).toBe('ada admin');
    expect(await panel.getByRole('radio').count()).toBe(3);
    await page.keyboard.press('Escape');
  });

  test('leaves the first 200 pixels of a phone to a figure', async () => {
    const phone = await signIn(browser, target, undefined, { viewport: { width: 390, height: 800 } });
    for (const view of ['event', 'metric']) {
      await phone.visit(path({ view, range: 'all' }));
      const figure = phone.page.locator('main .panel').first();
      await eventually(phone.page, async () => expect((await figure.boundingBox())?.y ?? 999).toBeLessThan(160));
    }
    expect(phone.consoleErrors).toEqual([]);
    await phone.page.context().close();
  });

  test('suggests the names that a mistyped one may mean', async () => {
    const { page } = admin;
    await admin.visit(path({ view: 'metric', name: 'page_laod_tiem', range: 'all' }));
    await eventually(page, async () =>
      expect(await page.textContent('main')).toContain('Nothing named page_laod_tiem has been recorded'),
    );
    await page.getByRole('link', { name: 'page_load_time' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === 'page_load_time');
    await page.waitForSelector('h2:has-text("page_load_time")');
  });
});

describe.skipIf(noBrowser !== undefined)('keyboard shortcuts', () => {
  test('go to views, select ranges and compare', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '24h' }));
    const { keyboard } = page;
    await keyboard.press('g');
    await keyboard.press('m');
    await page.waitForURL(({ searchParams }) => searchParams.get('view') === 'metric');
    for (const [key, range] of [
      ['t', 'today'],
      ['y', 'yesterday'],
      ['7', null], // the default
      ['3', '30d'],
    ] as const) {
      await keyboard.press(key);
      await page.waitForURL(({ searchParams }) => searchParams.get('range') === range);
    }
    await keyboard.press('c');
    await page.waitForURL(({ searchParams }) => searchParams.get('compare') === 'previous');
    await keyboard.press('c');
    await page.waitForURL(({ searchParams }) => !searchParams.has('compare'));
    await keyboard.press(',');
    await page.waitForURL(({ searchParams }) => searchParams.has('from'));
  });

  test('are listed with a question mark, and can be turned off', async () => {
    const { page } = admin;
    await admin.visit(path({ range: '24h' }));
    await page.keyboard.press('?');
    const dialog = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await dialog.waitFor();
    // not while the dialog is open
    await page.keyboard.press('t');
    expect(query(page).get('range')).toBe('24h');
    await dialog.getByRole('checkbox').uncheck();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await page.keyboard.press('t');
    expect(query(page).get('range')).toBe('24h');
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await dialog.getByRole('checkbox').check();
    await page.keyboard.press('Escape');
    await page.keyboard.press('t');
    await page.waitForURL(({ searchParams }) => searchParams.get('range') === 'today');
  });

  test('do nothing while the user types or holds a modifier key', async () => {
    const { page } = admin;
    await admin.visit(path({ view: 'records', range: '24h' }));
    await page.keyboard.press('/');
    await page.locator('input:focus').waitFor();
    await page.keyboard.type('gmt73c');
    expect(query(page).get('view')).toBe('records');
    expect(query(page).get('range')).toBe('24h');
    await page.keyboard.press('Escape');
    await page.locator('body').click({ position: { x: 1, y: 1 } });
    await page.keyboard.press('Control+3');
    expect(query(page).get('range')).toBe('24h');
  });
});
