import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post, send } from '../harness/client.ts';
import {
  addStep,
  type Dashboard,
  eventually,
  expandDetails,
  openOptions,
  pickIn,
  readFigures,
  signIn,
  waitUntilLoaded,
} from '../harness/dashboard.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Display of values: rows exactly as stored, percentages never rounded to 0% or 100%, and the empty string.
 */

let target: Target;
let browser: Browser;
let admin: Dashboard;

const USERS = 2_500;
const TIME = '2026-03-01T10:00:00Z';
const RANGE = { from: '2026-03-01T00:00:00Z', to: '2026-03-02T00:00:00Z', tz: 'UTC', refresh: '0' };

beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  const authorization = `Bearer ${await token({ sub: 'ada', role: 'admin' })}`;
  const step = (data_index: string, timestamp = TIME) => ({ type: 'tutorial', data: {}, data_index, timestamp });
  const recordUser = async (user: number) => {
    const analytics = [step('begin'), ...(user === 0 ? [] : [step('middle', '2026-03-01T11:00:00Z')])];
    if (user === 1) analytics.push(step('end', '2026-03-01T12:00:00Z'));
    const headers = { authorization, 'x-act-as-user-id': `user-${user}` };
    expect((await post(target, '/log_batch', { analytics }, headers)).status).toBe(200);
  };
  for (let user = 0; user < USERS; user += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, i) => recordUser(user + i)));
  }
  const metric = (metric_value: number, data_string: string, timestamp = TIME) => ({
    metric_name: 'exact',
    metric_value,
    data_string,
    timestamp,
  });
  const metrics = [
    metric(1234567, 'a  b'),
    metric(12345.67, 'ü, "quoted"', '2026-03-01T10:00:00.123456Z'),
    metric(0.1 + 0.2, 'x'),
    metric(-1e-7, 'x'),
    metric(1.7976931348623157e308, 'x'),
    { metric_name: 'labeled', metric_value: 7, timestamp: TIME },
    { metric_name: 'labeled', metric_value: 8, data_string: 'some', timestamp: TIME },
  ];
  const analytics = [
    { type: '', data: { long: 'x'.repeat(400) }, data_index: 'of no type', timestamp: TIME },
    { type: '', data: {}, data_index: '', timestamp: TIME },
    { type: 'typed', data: {}, data_index: '', timestamp: TIME },
    { type: 'typed', data: {}, data_index: 'some', timestamp: TIME },
  ];
  expect((await post(target, '/log_batch', { metrics, analytics }, { authorization })).status).toBe(200);
  admin = await signIn(browser, target);
}, 60_000);
afterAll(async () => {
  expect(admin?.consoleErrors ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const path = (view: string, parameters: Record<string, string> = {}) =>
  `/?${new URLSearchParams({ view, ...RANGE, ...parameters })}`;

describe.skipIf(noBrowser !== undefined)('rows', () => {
  test('show values, times and texts exactly as stored', async () => {
    const { page } = admin;
    await admin.visit(path('records', { name: 'exact' }));
    const cells = (column: number) => page.locator(`tr[data-id] td:nth-child(${column})`).allTextContents();
    await eventually(page, async () =>
      expect(await cells(5)).toEqual([
        '1.7976931348623157e+308',
        '-1e-7',
        '0.30000000000000004',
        '12345.67',
        '1234567',
      ]),
    );
    expect((await cells(2)).slice(3)).toEqual(['2026-03-01 10:00:00.123456', '2026-03-01 10:00:00.000']);
    expect((await cells(6)).slice(3)).toEqual(['ü, "quoted"', 'a  b']);
    const spaces = page.locator('td.name', { hasText: 'a  b' });
    expect(await spaces.evaluate((cell) => (cell as HTMLElement).innerText)).toBe('a  b');
  });

  test('mark truncated text with an ellipsis', async () => {
    const { page } = admin;
    await admin.visit(path('records', { kind: 'analytics', label: 'of no type' }));
    await eventually(page, async () =>
      expect(await page.locator('tr[data-id] td').last().textContent()).toMatch(/^\{"long":"x+…$/),
    );
  });

  test('download as a CSV with a byte order mark for Excel, which the export route omits', async () => {
    const { page } = admin;
    await admin.visit(path('records', { name: 'exact' }));
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Download CSV')]);
    const saved = await Bun.file(await download.path()).bytes();
    const query = new URLSearchParams({
      name: 'exact',
      from: RANGE.from,
      to: RANGE.to,
      format: 'csv',
      formulas: 'escape',
    });
    const headers = { authorization: `Bearer ${await token({ sub: 'ada', role: 'admin' })}` };
    const exported = new Uint8Array(
      await (await fetch(`${target.url}/api/export/metrics?${query}`, { headers })).arrayBuffer(),
    );
    expect([...saved.subarray(0, 3)]).toEqual([0xef, 0xbb, 0xbf]);
    expect(saved.subarray(3)).toEqual(exported);
    expect(exported[0]).not.toBe(0xef);
  });
});

test.skipIf(noBrowser !== undefined)(
  'a funnel shows 100% and 0% only if exactly all or no users completed a step',
  async () => {
    const { page } = admin;
    const query = new URLSearchParams({ view: 'funnel', ...RANGE });
    for (const step of ['begin', 'middle', 'end']) query.append('step', `tutorial:${step}`);
    await admin.visit(`/?${query}`);
    await expandDetails(page);
    const rows = page.locator('section', { has: page.locator('#funnel') }).locator('table.bars tbody tr');
    await eventually(page, async () =>
      expect(
        await rows.evaluateAll((all) =>
          all.map((row) => [...row.children].slice(1, 4).map((cell) => cell.textContent)),
        ),
      ).toEqual([
        ['2,500', '100%', ''],
        ['2,499', '99.96%', '99.96%'],
        ['1', '0.04%', '0.04%'],
      ]),
    );
    const widths = await rows
      .locator('.barred')
      .evaluateAll((bars) =>
        bars.map(
          (bar) =>
            [
              bar.getBoundingClientRect().width,
              (bar.firstElementChild as HTMLElement).getBoundingClientRect().width,
            ] as const,
        ),
      );
    expect(widths[0]?.[1]).toBe(widths[0]?.[0] as number);
    expect(widths[1]?.[1]).toBeLessThan(widths[1]?.[0] as number);
    expect(widths[2]?.[1]).toBeGreaterThan(0);
  },
);

describe.skipIf(noBrowser !== undefined)('the empty string', () => {
  const rowsShown = (page: Dashboard['page']) => page.locator('tr[data-id]').count();

  test('can be selected and removed as a filter of the records, and is kept in the URL', async () => {
    const { page } = admin;
    await admin.visit(path('records', { kind: 'analytics', label: 'some' }));
    await eventually(page, async () => expect(await rowsShown(page)).toBe(1));
    await page.getByRole('button', { name: 'Type: choose (empty)' }).click();
    await page.waitForURL(({ search }) => /[?&]name=(&|$)/.test(search));
    await eventually(page, async () => expect(await page.textContent('main')).toContain('No rows in this range'));
    await page.getByRole('button', { name: 'Remove the filter Label is some' }).click();
    await eventually(page, async () => expect(await rowsShown(page)).toBe(2));
    await page.locator('tr[data-id]', { hasText: '{}' }).getByRole('button').click();
    await page.getByRole('button', { name: 'Label = (empty)' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === '' && searchParams.get('label') === '');
    await eventually(page, async () => expect(await rowsShown(page)).toBe(1));
    expect(await page.locator('tr[data-id] td.name').allTextContents()).toEqual(['ada', '(empty)', '(empty)', '{}']);

    // also after a reload, and in the download
    await page.reload();
    await waitUntilLoaded(page);
    await eventually(page, async () => expect(await rowsShown(page)).toBe(1));
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Download CSV')]);
    expect((await Bun.file(await download.path()).text()).trim().split('\n')).toHaveLength(2);
    await page.getByRole('button', { name: /^Type: \(empty\)/ }).click();
    await page.waitForURL(({ searchParams }) => !searchParams.has('name'));
    await eventually(page, async () => expect(await rowsShown(page)).toBe(2));
    await page.getByRole('button', { name: 'Remove the filter Label is (empty)' }).click();
    await page.waitForURL(({ searchParams }) => !searchParams.has('label'));
    await eventually(page, async () => expect(await rowsShown(page)).toBe(100));
  });

  test('is a type like any other in the overview and the events view', async () => {
    const { page } = admin;
    await admin.visit(path('overview'));
    await page
      .locator('section', { has: page.locator('#top-types') })
      .getByRole('link', { name: '(empty)' })
      .click();
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === '');
    await eventually(page, async () => expect((await readFigures(page))['Events']).toBe(2));
    expect(await page.textContent('h2#type')).toBe('(empty)');
    expect(await page.title()).toContain(': (empty)');
    const types = page.locator('.head', { has: page.locator('#type') }).locator('select');
    await types.selectOption('typed');
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === 'typed');
    await types.selectOption({ label: '(empty)' });
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === '');
    await eventually(page, async () => expect((await readFigures(page))['Events']).toBe(2));
  });

  test('is a valid label, funnel step and cohort retention step', async () => {
    const { page } = admin;
    const stepsIn = (search: URLSearchParams) => search.getAll('step').join('|');
    await admin.visit(path('funnel'));
    await addStep(page, 'typed');
    await page.waitForURL(({ searchParams }) => searchParams.get('step') === 'typed');
    await pickIn(page, 'Label of step 1', '(empty)');
    await page.waitForURL(({ searchParams }) => searchParams.get('step') === 'typed:');
    await addStep(page, '(empty)');
    await page.waitForURL(({ searchParams }) => stepsIn(searchParams) === 'typed:|');
    await page.getByRole('button', { name: 'Move (empty) earlier' }).click();
    await page.waitForURL(({ searchParams }) => stepsIn(searchParams) === '|typed:');
    await page.getByRole('button', { name: 'Remove (empty)' }).click();
    await page.waitForURL(({ searchParams }) => stepsIn(searchParams) === 'typed:');

    await admin.visit(path('retention', { retention: '' }));
    expect(await page.getByRole('combobox', { name: 'First step', exact: true }).inputValue()).toBe('(empty)');
    await pickIn(page, 'First step', 'typed');
    await page.waitForURL(({ searchParams }) => searchParams.get('retention') === 'typed');
    await pickIn(page, 'First step: label', '(empty)');
    await page.waitForURL(({ searchParams }) => searchParams.get('retention') === 'typed:');
    await pickIn(page, 'Return step', '(empty)');
    await page.waitForURL(({ searchParams }) => searchParams.get('returning') === '');
  });

  test('is a label of a metric that can be filtered by', async () => {
    const { page } = admin;
    await admin.visit(path('metric', { name: 'labeled' }));
    await page.locator('table.bars').getByRole('button', { name: '(empty)' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('label') === '');
    await eventually(page, async () => expect((await readFigures(page))['Count']).toBe(1));
    await page.getByRole('button', { name: 'Remove the filter Label is (empty)' }).click();
    await eventually(page, async () => expect((await readFigures(page))['Count']).toBe(2));
  });

  test('clears the user filter when entered there', async () => {
    const { page } = admin;
    await admin.visit(path('overview', { user: 'ada' }));
    const all = (
      await send(`${target.url}/api/activity`, {
        headers: { authorization: `Bearer ${await token({ sub: 'ada', role: 'admin' })}` },
      })
    ).body;
    await (await openOptions(page)).getByLabel('User').fill('');
    await page.keyboard.press('Enter');
    await page.waitForURL(({ searchParams }) => !searchParams.has('user'));
    await eventually(page, async () => expect((await readFigures(page))['Events']).toBe(all.analytics.count));
  });
});
