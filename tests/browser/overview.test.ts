import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { changeOf } from '../../src/dashboard/page/format.ts';
import { eventUnitOf } from '../../src/dashboard/page/units.ts';
import { chooseMetrics } from '../../src/dashboard/page/views/overview/figures.ts';
import { findViolations } from '../harness/accessibility.ts';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import {
  type Dashboard,
  eventually,
  expandDetails,
  get,
  readFigures,
  record,
  signIn,
  tableRows,
} from '../harness/dashboard.ts';
import { recordShop } from '../harness/shop.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const ZONE = 'America/New_York';
const DAY = 86_400_000;
const CUSTOMER = { sub: 'user-00003' };

let target: Target;
let browser: Browser;
let admin: Dashboard;
/** A fixed range of a week and the one before, so the page and the test query the same rows. */
let range: { from: string; to: string };
let earlierRange: { from: string; to: string };

beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await recordShop(target, { days: 22, signupsPerDay: 8 });
  const end = Math.floor(Date.now() / DAY) * DAY;
  const at = (days: number) => new Date(end - days * DAY).toISOString();
  range = { from: at(7), to: at(0) };
  earlierRange = { from: at(14), to: at(7) };
  // a feature that was released in the range
  const analytics = Array.from({ length: 40 }, (_, i) => ({
    ...{ user_id: `user-${i}`, type: 'wishlist_add', data: {}, data_index: '', timestamp: at(3) },
  }));
  const authorization = `Bearer ${await token({ sub: 'seeder', role: 'admin' })}`;
  expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
  admin = await signIn(browser, target);
});
afterAll(async () => {
  expect(admin?.consoleErrors ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const path = (parameters: Record<string, string> = {}) =>
  `/?${new URLSearchParams({ ...range, interval: '12h', tz: ZONE, refresh: '0', ...parameters })}`;
const QUERY = { interval: '12h', tz: ZONE, top: '50', unique_users: 'true' };

const section = (page: Page, id: string) => page.locator('section', { has: page.locator(id) });

/** Returns the changes of a list in words, by name. */
async function changesIn(list: Locator): Promise<Record<string, string>> {
  const entries = await list.evaluateAll((rows) =>
    rows.map((row) => [
      row.querySelector('.name')?.textContent ?? '',
      row.querySelector('.change .visually-hidden')?.textContent ?? '',
    ]),
  );
  return Object.fromEntries(entries);
}

describe.skipIf(noBrowser !== undefined)('the overview', () => {
  test('shows the active users, events and metrics of the query routes, in total, by name and per bucket', async () => {
    const { page } = admin;
    await admin.visit(path());
    const [now, before] = await Promise.all(
      [range, earlierRange].map((ends) => get(target, '/api/activity', { ...QUERY, ...ends })),
    );
    const metrics = chooseMetrics(
      now.metrics.names.map(({ name }: { name: string }) => name),
      [],
      6,
    );
    expect(metrics[0]).toMatchObject({ name: 'purchase_amount', statistic: 'sum' });
    const seriesOf = (ends: typeof range) =>
      Promise.all(
        metrics.map(({ name }) => get(target, '/api/metrics/series', { name, ...ends, interval: '12h', tz: ZONE })),
      );
    const [series, earlierSeries] = await Promise.all([range, earlierRange].map(seriesOf));

    // headline figures
    const headline = section(page, '#headline');
    await eventually(page, async () =>
      expect(await readFigures(headline)).toEqual({
        'Active users': now.unique_users,
        Events: now.analytics.count,
        ...Object.fromEntries(
          metrics.slice(0, 3).map(({ name, statistic }, i) => [`${name}, ${statistic}`, series?.[i][statistic]]),
        ),
      }),
    );
    expect(now.unique_users).toBeGreaterThan(30);
    const change = headline.locator('.figure', { hasText: 'Active users' }).locator('.change .visually-hidden');
    await eventually(page, async () =>
      expect(await change.textContent()).toBe(changeOf(now.unique_users, before.unique_users, 'higher')?.words ?? ''),
    );

    // lists
    const types: { type: string; unique_users: number }[] = now.analytics.types.slice(0, 8);
    const events = section(page, '#top-types');
    await eventually(page, async () =>
      expect((await tableRows(events.locator('table'))).map(([name, , users]) => [name, users])).toEqual(
        types.map(({ type, unique_users }) => [type, unique_users]),
      ),
    );
    const earlierUsers = new Map(
      before.analytics.types.map(({ type, unique_users }: (typeof types)[number]) => [type, unique_users]),
    );
    const words = ({ type, unique_users }: (typeof types)[number]) =>
      changeOf(unique_users, Number(earlierUsers.get(type) ?? 0), eventUnitOf(type).better)?.words ?? '';
    await eventually(page, async () =>
      expect(await changesIn(events.locator('tbody tr'))).toEqual(
        Object.fromEntries(types.map((type) => [type.type, words(type)])),
      ),
    );
    const listed = section(page, '#top-metrics');
    await eventually(page, async () =>
      expect((await tableRows(listed.locator('table'))).map(([name, , value]) => [name, value])).toEqual(
        metrics.map(({ name, statistic }, i) => [`${name}${statistic}`, series?.[i][statistic]]),
      ),
    );
    await eventually(page, async () =>
      expect(await changesIn(listed.locator('tbody tr'))).toEqual(
        Object.fromEntries(
          metrics.map(({ name, statistic, unit }, i) => [
            name,
            changeOf(series?.[i][statistic], earlierSeries?.[i][statistic], unit.better)?.words ?? '',
          ]),
        ),
      ),
    );

    // the chart, and the figures that can be put on it
    await expandDetails(headline);
    const rows = () => tableRows(headline.locator('details table'));
    const columns = async () => (await rows()).map(([, value, earlier]) => [value, earlier]);
    await eventually(page, async () =>
      expect(await columns()).toEqual(
        now.user_counts.map((users: number, i: number) => [users, before.user_counts[i]]),
      ),
    );
    await headline.getByRole('button', { name: 'Events' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('statistic') === 'count');
    await eventually(page, async () =>
      expect(await columns()).toEqual(
        now.analytics.counts.map((count: number, i: number) => [count, before.analytics.counts[i]]),
      ),
    );
    await headline.getByRole('button', { name: 'purchase_amount' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === 'purchase_amount');
    const sums = (result: { buckets: { sum: number }[] }) => result.buckets.map(({ sum }) => sum);
    await eventually(page, async () =>
      expect(await columns()).toEqual(
        sums(series?.[0]).map((sum: number, i: number) => [sum, sums(earlierSeries?.[0])[i] as number]),
      ),
    );
    expect(await page.textContent('#headline')).toBe('purchase_amount, sum per 12 hours');
  }, 60_000);

  test('shows how many users were active today, in 7 and in 30 days, and now', async () => {
    await record(target, { type: 'app_open', data: {}, data_index: 'ios' });
    const { page } = admin;
    await admin.visit(path({ tz: 'UTC' }));
    const end = Date.now();
    const usersSince = async (from: number) =>
      (await get(target, '/api/activity', { from: new Date(from).toISOString(), unique_users: 'true' })).unique_users;
    const today = Math.floor(end / DAY) * DAY;
    const expected = {
      Today: await usersSince(today),
      '7 days': await usersSince(today - 6 * DAY),
      '30 days': await usersSince(today - 29 * DAY),
    };
    const shown = () =>
      page
        .locator('.active-users > div')
        .evaluateAll((items) =>
          Object.fromEntries(
            items.map((item) => [
              item.querySelector('dt')?.textContent ?? '',
              Number(item.querySelector('data')?.getAttribute('value')),
            ]),
          ),
        );
    await eventually(page, async () => expect(await shown()).toMatchObject(expected));
    expect((await shown())['Now']).toBeGreaterThan(0);
    const live = await readFigures(section(page, '#live'));
    expect(live['Active in the last 5 minutes']).toBe((await shown())['Now'] as number);
    expect(live['Rows per minute']).toBeGreaterThan(0);
    await eventually(page, async () => expect(await page.locator('.latest li').first().textContent()).toContain('ada'));
  });

  test('lists the biggest changes, and leads to the views of names', async () => {
    const { page } = admin;
    await admin.visit(path());
    const changes = section(page, '#changes').locator('li');
    await changes.first().waitFor();
    for (const words of Object.values(await changesIn(changes))) expect(words).toMatch(/^(up|down) /);
    expect(await changes.first().textContent()).toContain('up from zero, better40 users, before 0');
    await changes.first().getByRole('link').click();
    await page.waitForURL(({ searchParams }) => searchParams.get('name') === 'wishlist_add');
    expect(new URL(page.url()).searchParams.get('from')).toBe(range.from);
    await page.goBack();
    await section(page, '#top-types').getByRole('link', { name: 'purchase' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('view') === 'event');
    await page.goBack();
    await section(page, '#top-metrics').getByRole('link', { name: 'api_latency_ms' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('view') === 'metric');
  });

  test('shows a user numbers of events instead of users', async () => {
    const { page, visit, consoleErrors } = await signIn(browser, target, CUSTOMER);
    await visit(path());
    const own = await get(target, '/api/activity', { ...range, top: '50' }, CUSTOMER);
    await eventually(page, async () =>
      expect(await readFigures(section(page, '#headline'))).toMatchObject({ Events: own.analytics.count }),
    );
    await eventually(page, async () =>
      expect(
        (await tableRows(section(page, '#top-types').locator('table'))).map(([name, , count]) => [name, count]),
      ).toEqual(
        own.analytics.types.slice(0, 8).map(({ type, count }: { type: string; count: number }) => [type, count]),
      ),
    );
    expect(await page.textContent('main')).not.toContain('Active');
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('passes axe and fits the page in both themes, with a figure near the top of a phone', async () => {
    for (const [colorScheme, width] of [
      ['light', 1440],
      ['dark', 390],
    ] as const) {
      const { page, visit } = await signIn(browser, target, undefined, {
        colorScheme,
        viewport: { width, height: 844 },
      });
      await visit(path());
      await section(page, '#changes').waitFor();
      expect(await findViolations(page)).toEqual([]);
      const box = await page.locator('.figure data').first().boundingBox();
      if (width === 390) expect(box?.y).toBeLessThan(200);
      expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(
        0,
      );
      await page.context().close();
    }
  }, 60_000);

  test('opens with the last hour while the log is young', async () => {
    const young = await startTarget();
    await record(young, { type: 'app_open', data: {}, data_index: 'ios' });
    const { page } = await signIn(browser, young);
    await page.waitForURL(({ searchParams }) => searchParams.get('range') === '1h');
    await eventually(page, async () => expect(await readFigures(page)).toMatchObject({ 'Active users': 1, Events: 1 }));
    await page.context().close();
    await young.stop();
  });
});
