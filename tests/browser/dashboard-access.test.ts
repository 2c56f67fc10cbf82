import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { findViolations } from '../harness/accessibility.ts';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import {
  chooseTheme,
  type Dashboard,
  eventually,
  expandDetails,
  openAccount,
  openDashboard,
  openOptions,
  openRange,
  plotOf,
  refreshNow,
  signIn,
  waitUntilLoaded,
} from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { sampleOf } from '../harness/sampling.ts';
import { runCli, SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const VIEWS = {
  overview: '/?range=7d',
  metric: '/?view=metric&name=page_load_time&range=7d&compare=previous',
  'metric by label': '/?view=metric&name=page_load_time&range=7d&split=p95&axis=log&cap=1',
  'event by property': '/?view=event&name=page_view&range=7d&property=data.page&sum=data.width&compare=previous',
  event: '/?view=event&name=tutorial_step&range=7d',
  funnel: '/?view=funnel&range=7d&step=page_view&step=tutorial_step%3Astep_1&step=tutorial_step%3Astep_2',
  retention: '/?view=retention&range=7d&retention=tutorial_step%3Astep_1',
  health: '/?view=health&range=7d',
  records: '/?view=records&kind=analytics&range=7d&live=1',
  'no rows': '/?view=metric&name=never_recorded',
  custom: '/?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z',
  forbidden: '/?user=someone-else',
};

let target: Target;
let browser: Browser;
beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await recordProduct(target, { users: 6, days: 6, rowsPerDay: 8 });
  await post(target, '/log_raw_metric', '{}');
});
afterAll(async () => {
  await browser?.close();
  await target?.stop();
});

/** Returns by how many pixels the page is wider than the viewport. */
const overflowOf = (page: Page) =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

describe.skipIf(noBrowser !== undefined)('dashboard accessibility', () => {
  for (const [colorScheme, width] of [
    ['light', 1280],
    ['dark', 360],
  ] as const) {
    test(`every view passes axe and fits the viewport: ${colorScheme}, ${width} px wide`, async () => {
      const options = { colorScheme, viewport: { width, height: 800 } };
      const { page } = await openDashboard(browser, target, options);
      expect(await findViolations(page)).toEqual([]);
      await page.fill('input[name=token]', 'x');
      await page.click('button[type=submit]');
      await page.waitForSelector('[role=alert]');
      expect(await findViolations(page)).toEqual([]);
      await page.context().close();

      const admin = await signIn(browser, target, undefined, options);
      const user = await signIn(browser, target, { sub: 'user-1' }, options);
      for (const [name, path] of sampleOf(Object.entries(VIEWS))) {
        const { page: view, visit }: Dashboard = name === 'forbidden' ? user : admin;
        await visit(path);
        if (await view.locator('details').count()) await expandDetails(view);
        if (name === 'records') await view.locator('tr button').first().click();
        await waitUntilLoaded(view);
        await eventually(view, async () =>
          expect({ name, overflow: await overflowOf(view) }).toEqual({ name, overflow: 0 }),
        );
        expect({ name, violations: await findViolations(view) }).toEqual({ name, violations: [] });
      }
      await Promise.all([admin.page.context().close(), user.page.context().close()]);
    }, 120_000);
  }

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`every panel and the list of shortcuts pass axe: ${colorScheme}`, async () => {
      const { page, visit } = await signIn(browser, target, undefined, { colorScheme });
      await visit('/?view=event&name=tutorial_step&range=30d&compare=weekdays&label=step_1&data.plan~=x&user=user-1');
      for (const [name, open] of [
        ['range', openRange],
        ['options', openOptions],
        ['account', openAccount],
        ['filter', () => page.getByRole('button', { name: 'Add filter' }).click()],
        ['shortcuts', () => page.keyboard.press('?')],
      ] as const) {
        await open(page);
        // not what is behind the panel, which it may cover in part
        const panel = ':is(.popover:popover-open, dialog[open])';
        await page.locator(panel).waitFor();
        if (name === 'options') await page.getByRole('combobox', { name: 'Time zone' }).click();
        expect({ name, violations: await findViolations(page, panel) }).toEqual({ name, violations: [] });
        if (name === 'options') await page.keyboard.press('Escape');
        await page.keyboard.press('Escape');
        await page.locator(panel).waitFor({ state: 'hidden' });
      }
      await visit('/?view=metric&name=page_laod_time');
      expect(await findViolations(page)).toEqual([]);
      await page.context().close();
    }, 120_000);
  }

  test('the empty state, the user switch dialog and the offline banner pass axe', async () => {
    const empty = await startTarget({ ...UNLIMITED });
    const { page } = await signIn(browser, empty, { sub: 'first' });
    await page.waitForSelector('.empty');
    expect(await findViolations(page)).toEqual([]);
    const args = ['token', '--sub', 'other'.repeat(50), '--link', empty.url];
    await page.goto((await runCli(args, { env: { JWT_SECRET: SECRET } })).stdout.trim());
    await page.waitForSelector('dialog[open]');
    expect(await findViolations(page)).toEqual([]);
    await page.keyboard.press('Enter'); // the focus is on the button that keeps the session
    await page.waitForSelector('dialog', { state: 'detached' });
    expect(await page.textContent('header')).toContain('first');
    await empty.stop();
    await refreshNow(page);
    await page.waitForSelector('.banner');
    expect(await findViolations(page)).toEqual([]);
    await page.context().close();
  });

  test('the dashboard is usable with the keyboard only', async () => {
    const { page } = await openDashboard(browser, target);
    const { keyboard } = page;
    const focused = () => page.locator(':focus');
    /** Presses Tab until a matching element has the focus. */
    const tabTo = async (selector: string) => {
      for (let i = 0; i < 60; i++) {
        await keyboard.press('Tab');
        if (await focused().and(page.locator(selector)).count()) return;
      }
      throw new Error(`Tab does not reach ${selector}`);
    };
    await tabTo('input[name=token]');
    await keyboard.insertText(await token({ sub: 'ada', role: 'admin' }));
    await keyboard.press('Enter');
    await page.waitForSelector('header');
    await waitUntilLoaded(page);

    await tabTo('.skip');
    await keyboard.press('Enter');
    await eventually(page, async () => expect(await focused().getAttribute('id')).toBe('content'));
    await page.goto(`${target.url}/?range=7d&tz=UTC`);
    await waitUntilLoaded(page);
    await tabTo('nav a:has-text("Metrics")');
    await keyboard.press('Enter');
    await waitUntilLoaded(page);

    // the focus outline is visible
    await tabTo('.plot');
    await eventually(page, async () =>
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid'),
    );
    await keyboard.press('ArrowRight');
    const first = await eventually(page, async () => {
      const text = await page.textContent('.pointed');
      expect(text).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d, Median \(p50\) /);
      return text;
    });
    await keyboard.press('ArrowRight');
    await eventually(page, async () => expect(await page.textContent('.pointed')).not.toBe(first));
    await keyboard.press('+');
    await page.waitForURL(/from=/);
    const from = new URL(page.url()).searchParams.get('from') ?? '';
    await keyboard.press('Shift+ArrowLeft');
    await page.waitForURL((url) => (url.searchParams.get('from') ?? '') < from);

    await page.goto(`${target.url}/?view=funnel&range=7d`);
    await waitUntilLoaded(page);
    const hasSteps = (...steps: string[]) =>
      page.waitForURL(({ searchParams }) => searchParams.getAll('step').join('|') === steps.join('|'));
    await tabTo('input[aria-label="First step"]');
    await keyboard.type('tutorial');
    await keyboard.press('Enter');
    await hasSteps('tutorial_step');
    await tabTo('input[aria-label="Label of step 1"]');
    await keyboard.type('step_1');
    await keyboard.press('Enter');
    await hasSteps('tutorial_step:step_1');
    await tabTo('input[aria-label="Add a step"]');
    await keyboard.type('tutorial_step:step_2');
    await keyboard.press('Enter');
    await hasSteps('tutorial_step:step_1', 'tutorial_step:step_2');
    await page.waitForSelector('.funnel-figures');
    // the focus follows the moved step
    await page.locator('button[aria-label="Move tutorial_step: step_2 earlier"]').focus();
    await keyboard.press('Enter');
    await hasSteps('tutorial_step:step_2', 'tutorial_step:step_1');
    await eventually(page, async () =>
      expect(await focused().getAttribute('aria-label')).toBe('Move tutorial_step: step_2 later'),
    );
    await page.locator('button[aria-label="Remove tutorial_step: step_2"]').focus();
    await keyboard.press('Enter');
    await hasSteps('tutorial_step:step_1');
    await eventually(page, async () =>
      expect(await focused().getAttribute('aria-label')).toBe('Remove tutorial_step: step_1'),
    );

    await page.goto(`${target.url}/?view=records&range=7d`);
    await waitUntilLoaded(page);
    await tabTo('tr[data-id] button');
    await keyboard.press('Enter');
    await page.waitForSelector('.opened code');
    await page.context().close();
  });

  test('the theme follows the system unless one is chosen in this browser', async () => {
    const { page } = await signIn(browser, target, undefined, { colorScheme: 'light' });
    const background = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const [light, dark] = ['rgb(248, 248, 246)', 'rgb(15, 17, 21)'];
    await eventually(page, async () => expect(await background()).toBe(light));
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.waitForSelector('html[data-theme=dark]');
    await eventually(page, async () => expect(await background()).toBe(dark));
    await chooseTheme(page, 'Light');
    await eventually(page, async () => expect(await background()).toBe(light));
    await page.emulateMedia({ colorScheme: 'light' });
    await chooseTheme(page, 'Dark');
    await page.reload();
    await page.waitForSelector('header');
    await eventually(page, async () => expect(await background()).toBe(dark));
    await page.context().close();
  });

  test('dragging with a finger pans a chart on a phone', async () => {
    const { page, visit } = await signIn(browser, target, undefined, {
      viewport: { width: 390, height: 800 },
      hasTouch: true,
      isMobile: true,
    });
    await visit('/?view=event&name=page_view&range=7d');
    const box = await plotOf(page);
    const client = await page.context().newCDPSession(page);
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', x: number) =>
      client.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: type === 'touchEnd' ? [] : [{ x, y: box.middle }],
      });
    await touch('touchStart', box.x + 50);
    for (let x = 60; x <= 200; x += 20) await touch('touchMove', box.x + x);
    await touch('touchEnd', 0);
    await page.waitForURL(/from=/);
    const { searchParams } = new URL(page.url());
    expect(Date.parse(searchParams.get('to') ?? '')).toBeLessThan(Date.now() - 86_400_000);
    await page.context().close();
  });

  test('the page sends requests only to its own server', async () => {
    const { page, requestedUrls, visit, consoleErrors } = await signIn(browser, target);
    for (const path of Object.values(VIEWS)) await visit(path);
    expect(requestedUrls.length).toBeGreaterThan(20);
    for (const url of requestedUrls) expect(new URL(url).origin).toBe(target.url);
    // only query routes and the page's assets
    for (const url of requestedUrls) expect(new URL(url).pathname).toMatch(/^\/(api\/.+|assets\/.+)?$/);
    // not the routes that list every name: they reject the query when there are too many
    for (const url of requestedUrls) expect(new URL(url).pathname).not.toMatch(/^\/api\/(metrics|analytics)$/);
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });
});
