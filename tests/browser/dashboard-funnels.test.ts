import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import { addStep, type Dashboard, eventually, get, pickIn, signIn } from '../harness/dashboard.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Funnels and cohort retention across event types: the figures, drop-offs and changes are those of the query routes.
 */

let target: Target;
let browser: Browser;
let admin: Dashboard;

const RANGE = { from: '2026-03-09T00:00:00Z', to: '2026-03-23T00:00:00Z' };
const PREVIOUS = { from: '2026-02-23T00:00:00Z', to: '2026-03-09T00:00:00Z' };
/** Users who get as far as each step, in the range and in the period before. */
const REACHED = { range: [50, 30, 12, 9], previous: [40, 30, 6, 6] };
const TYPES = ['page_view', 'signup', 'a:b', 'purchase'];
const STEPS = ['page_view:/pricing', 'signup', 'a\\:b', 'purchase'];

beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  const authorization = `Bearer ${await token({ sub: 'seeder', role: 'admin' })}`;
  const record = async (period: string, start: number, reached: readonly number[]) => {
    for (let user = 0; user < (reached[0] ?? 0); user++) {
      const analytics = TYPES.flatMap((type, step) =>
        user < (reached[step] ?? 0)
          ? [
              {
                type,
                data: { plan: user % 2 === 0 ? 'pro' : 'free' },
                data_index: step === 0 ? '/pricing' : '',
                timestamp: new Date(start + user * 3_600_000 + step * (60_000 + 1000 * user)).toISOString(),
              },
            ]
          : [],
      );
      const headers = { authorization, 'x-act-as-user-id': `${period}-${user}` };
      expect((await post(target, '/log_batch', { metrics: [], analytics }, headers)).status).toBe(200);
    }
  };
  await record('before', Date.parse('2026-02-24T00:00:00Z'), REACHED.previous);
  await record('in', Date.parse('2026-03-10T00:00:00Z'), REACHED.range);
  admin = await signIn(browser, target);
}, 60_000);
afterAll(async () => {
  expect(admin?.consoleErrors ?? []).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const path = (view: string, parameters: readonly (readonly [string, string])[]) =>
  `/?${new URLSearchParams([['view', view], ...Object.entries({ ...RANGE, tz: 'UTC', refresh: '0', week: 'monday' }), ...parameters.map(([name, value]) => [name, value])] as [string, string][])}`;
const steps = STEPS.map((step) => ['step', step] as const);

describe.skipIf(noBrowser !== undefined)('a funnel', () => {
  test('shows the users, drop-offs, conversions and times of the query route, and where most are lost', async () => {
    const { page } = admin;
    await admin.visit(path('funnel', steps));
    const funnel = await get(target, '/api/analytics/funnel', { step: STEPS, ...RANGE, within: '7d' });
    expect(funnel.steps.map(({ users }: { users: number }) => users)).toEqual(REACHED.range);
    const cards = page.locator('.funnel-step:not(.funnel-add)');
    await eventually(page, async () => {
      const values = await cards.locator('data').evaluateAll((all) => all.map((data) => data.getAttribute('value')));
      expect(values.map(Number)).toEqual(REACHED.range);
    });
    expect(await cards.nth(1).textContent()).toContain('−20, 40%');
    expect(await cards.nth(2).textContent()).toContain('−18, 60%');
    expect(await cards.nth(3).textContent()).toContain('−3, 25%');
    expect(await cards.nth(3).textContent()).toContain('75% of the previous step');
    expect(await cards.nth(3).textContent()).toContain('18% of the first');
    expect(funnel.steps[1].median_seconds).toBe(74.5);
    expect(await cards.nth(1).textContent()).toContain('median 1.2 minutes');
    expect(await page.locator('.biggest').count()).toBe(1);
    expect(await cards.nth(1).getAttribute('class')).toContain('biggest');
    expect(await page.textContent('.funnel-summary')).toBe(
      '18% of 50 users complete all 4 steps. Most are lost between page_view: /pricing and signup: 20 users, 40%.',
    );
    // the hatched part is the users lost since the previous step
    const heights = await cards
      .locator('.funnel-bar span')
      .evaluateAll((spans) => spans.map((span) => span.getBoundingClientRect().height));
    const whole = heights[1] as number;
    expect(heights[2]).toBeCloseTo(whole, 0);
    expect((heights[3] as number) / whole).toBeCloseTo(0.6, 2);
    expect((heights[4] as number) / whole).toBeCloseTo(0.6, 2);
    expect((heights[5] as number) / whole).toBeCloseTo(0.24, 2);
  });

  test('shows the change of each conversion against the previous period in points', async () => {
    const { page } = admin;
    await admin.visit(path('funnel', [...steps, ['compare', 'previous']]));
    const before = await get(target, '/api/analytics/funnel', { step: STEPS, ...PREVIOUS, within: '7d' });
    expect(before.steps.map(({ users }: { users: number }) => users)).toEqual(REACHED.previous);
    const cards = page.locator('.funnel-step:not(.funnel-add)');
    await eventually(page, async () => {
      expect(await cards.nth(1).textContent()).toContain('▼ −15.0 points');
      expect(await cards.nth(2).textContent()).toContain('▲ +20.0 points');
      expect(await cards.nth(3).textContent()).toContain('▼ −25.0 points');
      expect(await page.textContent('.funnel-summary')).toContain('(+3.0 points against the previous period)');
    });
  });

  test('counts only what passes the filters', async () => {
    const { page } = admin;
    await admin.visit(path('funnel', [...steps, ['data.plan', 'pro']]));
    const funnel = await get(target, '/api/analytics/funnel', { step: STEPS, ...RANGE, 'data.plan': 'pro' });
    const users = funnel.steps.map((step: { users: number }) => step.users);
    expect(users).toEqual([25, 15, 6, 5]);
    await eventually(page, async () => {
      const values = await page
        .locator('.funnel-step data')
        .evaluateAll((all) => all.map((data) => Number(data.getAttribute('value'))));
      expect(values).toEqual(users);
    });
  });

  test('is reordered by dragging a step', async () => {
    const { page } = admin;
    await admin.visit(path('funnel', steps));
    await page.locator('.funnel-step').nth(2).locator('.funnel-grip').dragTo(page.locator('.funnel-step').nth(0));
    await page.waitForURL(
      ({ searchParams }) => searchParams.getAll('step').join('|') === 'a\\:b|page_view:/pricing|signup|purchase',
    );
  });

  test('is suggested in the order of a journey, and built by typing a type with its label', async () => {
    const { page } = admin;
    await admin.visit(path('funnel', []));
    await page.getByRole('link', { name: 'page_view → signup → purchase' }).waitFor();
    await addStep(page, 'page_view:/pricing');
    await page.waitForURL(({ searchParams }) => searchParams.get('step') === 'page_view:/pricing');
    expect(await page.textContent('.funnel-summary')).toContain('Add a second step');
    await addStep(page, 'a:b');
    await page.waitForURL(({ searchParams }) => searchParams.getAll('step')[1] === 'a\\:b');
    // a step is replaced in place
    await pickIn(page, 'Event type of step 2', 'signup');
    await page.waitForURL(({ searchParams }) => searchParams.getAll('step')[1] === 'signup');
    await eventually(page, async () =>
      expect(await page.locator('.funnel-step data').first().getAttribute('value')).toBe('50'),
    );
  });
});

describe.skipIf(noBrowser !== undefined)('cohort retention', () => {
  test('begins with the type that looks like a first step, by week, with any event as a return', async () => {
    const { page } = admin;
    await admin.visit(path('retention', [['period', 'week']]));
    const { cohorts } = await get(target, '/api/analytics/retention', {
      ...{ step: 'signup', period: 'week', week_start: 'monday' },
      ...RANGE,
      tz: 'UTC',
    });
    expect(await page.getByRole('combobox', { name: 'First step', exact: true }).inputValue()).toBe('signup');
    await eventually(page, async () => {
      const rows = await page.locator('table.cohorts tbody th').allTextContents();
      expect(rows).toEqual(
        cohorts
          .filter(({ users }: { users: number }) => users > 0)
          .map(({ start }: { start: string }) => start.slice(0, 10))
          .toReversed(),
      );
    });
    const widths = await page
      .locator('table.cohorts thead th:not(:first-child)')
      .evaluateAll((cells) => cells.map((cell) => Math.round(cell.getBoundingClientRect().width)));
    expect(new Set(widths).size).toBe(1);
    await page.getByRole('radio', { name: 'Month' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('period') === 'month');
    await eventually(page, async () =>
      expect(await page.locator('table.cohorts tbody th').allTextContents()).toEqual(['2026-03']),
    );
  });
});
