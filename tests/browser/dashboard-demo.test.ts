import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { eventually, get, signIn, waitUntilLoaded } from '../harness/dashboard.ts';
import { startTarget, type Target } from '../harness/target.ts';

let target: Target;
let browser: Browser;
beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await target?.stop();
});

describe.skipIf(noBrowser !== undefined)('an empty log', () => {
  test('shows three ways to send, each of which works as copied', async () => {
    const { page, consoleErrors } = await signIn(browser, target, { sub: 'first' });
    const program = () => page.textContent('.first-minutes code');
    expect(await program()).toStartWith('curl ');
    await page.keyboard.press('Tab');
    await page.getByRole('tab', { name: 'curl' }).focus();
    await page.keyboard.press('ArrowRight');
    await eventually(page, async () => expect(await program()).toStartWith('await fetch('));
    // no offer for a user who may not start it
    expect(await page.getByRole('button', { name: 'Explore with demo data' }).count()).toBe(0);
    await page.getByRole('tab', { name: 'Python' }).click();
    await eventually(page, async () => expect(await program()).toContain(`Client("${target.url}", "`));
    await page.getByRole('tab', { name: 'Browser' }).click();
    const browserProgram = await eventually(page, async () => {
      const text = (await program()) ?? '';
      expect(text).toStartWith('await fetch(');
      return text;
    });
    await page.evaluate(`(async () => { ${browserProgram} })()`);
    await page.locator('.first-minutes').waitFor({ state: 'detached', timeout: 20_000 });
    await waitUntilLoaded(page);
    await eventually(page, async () => expect(await page.textContent('main')).toContain('signup'));
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('lets an admin explore demo data beside it, marked by a banner, and leave', async () => {
    const empty = await startTarget();
    const { page, consoleErrors } = await signIn(browser, empty);
    await page.getByRole('button', { name: 'Explore with demo data' }).click();
    await page.waitForSelector('.demo-banner', { timeout: 60_000 });
    await waitUntilLoaded(page);
    await eventually(page, async () => expect(await page.textContent('main')).toContain('page_view'));
    await page.goto(`${empty.url}/?view=funnel&range=30d&step=page_view&step=signup&step=purchase`);
    await waitUntilLoaded(page);
    await eventually(page, async () =>
      expect(Number(await page.locator('.funnel-step data').first().getAttribute('value'))).toBeGreaterThan(1000),
    );
    const { metrics, analytics } = await get(empty, '/api/activity');
    expect([metrics.count, analytics.count]).toEqual([0, 0]);
    await page.getByRole('button', { name: 'Leave the demo' }).click();
    await page.waitForSelector('.first-minutes');
    expect(await page.locator('.demo-banner').count()).toBe(0);
    expect(consoleErrors).toEqual([]);
    await page.context().close();
    await empty.stop();
  }, 120_000);
});
