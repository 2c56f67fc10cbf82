import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { METRIC, post } from '../harness/client.ts';
import { chooseRefresh, type Dashboard, eventually, record, signIn } from '../harness/dashboard.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let browser: Browser;
beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await record(target); // otherwise the page shows the empty state
});
afterAll(async () => {
  await browser?.close();
  await target?.stop();
});

describe.skipIf(noBrowser !== undefined)('the live tail', () => {
  test('shows each row that matches the filter once, as it is committed', async () => {
    const { page, visit, consoleErrors } = await signIn(browser, target);
    await visit('/?view=records&live=1&range=1h&name=live_one');
    await page.waitForSelector('.live.open');
    await record(target, { ...METRIC, metric_name: 'live_two' });
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push(await record(target, { ...METRIC, metric_name: 'live_one', metric_value: i }));
    const shown = () =>
      page.locator('tr[data-id]').evaluateAll((rows) => rows.map((row) => row.getAttribute('data-id')));
    await eventually(page, async () => expect(await shown()).toEqual(ids.toReversed()));
    await eventually(page, async () => expect(await page.textContent('.live')).toContain('3 new rows'));
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('keeps text that is being typed into a filter', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=records&live=1&range=1h');
    await page.waitForSelector('.live.open');
    const field = page.getByRole('combobox', { name: 'Metric' });
    await field.pressSequentially('typed_o');
    const id = await record(target, { ...METRIC, metric_name: 'other' });
    await page.waitForSelector(`tr[data-id="${id}"]`);
    await field.pressSequentially('ne');
    await eventually(page, async () => expect(await field.inputValue()).toBe('typed_one'));
    await field.press('Enter');
    await page.waitForURL(/name=typed_one/);
    await page.context().close();
  });

  test('counts all rows, keeps the newest, and reports the ones it does not show', async () => {
    const { page, visit } = await signIn(browser, target);
    await record(target, { ...METRIC, metric_name: 'flood', data_string: 'before' });
    await visit('/?view=records&live=1&range=1h&name=flood');
    await page.waitForSelector('.live.open');
    const rows = 1_500;
    let last = '';
    for (let i = 0; i < rows; i += 50) {
      const metrics = Array.from({ length: 50 }, (_, j) => ({ ...METRIC, metric_name: 'flood', metric_value: i + j }));
      const { body } = await post(target, '/log_batch', { metrics });
      last = body.metrics.at(-1);
    }
    // the server reports skipped rows after the last row it sent
    const counted = await eventually(page, async () => {
      const [shown, skipped] = ((await page.textContent('.live')) ?? '').replaceAll(',', '').match(/\d+/g) ?? [];
      expect(Number(shown ?? 0) + Number(skipped ?? 0)).toBe(rows);
      return Number(shown);
    });
    await eventually(page, async () => {
      const rowsShown = await page.locator('tr[data-id]').count();
      if (counted > 500) {
        expect(rowsShown).toBe(500);
        expect(await page.textContent('main')).toContain('Showing the newest 500 rows.');
      } else expect(rowsShown).toBeGreaterThan(counted);
    });
    await page.getByLabel('Live').uncheck();
    await page.waitForSelector(`tr[data-id="${last}"]`);
    await page.waitForSelector('text=Older rows');
    await page.context().close();
  });

  test('of a user contains only their own rows', async () => {
    const { page, visit } = await signIn(browser, target, { sub: 'tail-user' });
    await record(target); // a row of another user, before the tail opens
    await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${await token({ sub: 'tail-user' })}` });
    await visit('/?view=records&live=1&range=1h');
    await page.waitForSelector('.live.open');
    await record(target);
    const own = await post(target, '/log_raw_metric', METRIC, {
      authorization: `Bearer ${await token({ sub: 'tail-user' })}`,
    });
    await page.waitForSelector(`tr[data-id="${own.body}"]`);
    await eventually(page, async () => expect(await page.locator('tr[data-id]').count()).toBe(2));
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('an unreachable server', () => {
  test('is reported, and the page and its live tail recover when it is back', async () => {
    using folder = temporaryFolder();
    const start = (port: string) => startTarget({ ...UNLIMITED, PORT: port }, { dataDir: folder.path });
    const first = await start('0');
    const { port } = new URL(first.url);
    await record(first);
    const overview: Dashboard = await signIn(browser, first, { sub: 'ada', role: 'admin' });
    const live: Dashboard = await signIn(browser, first, { sub: 'ada', role: 'admin' });
    await chooseRefresh(overview.page, 5);
    await live.visit('/?view=records&live=1&range=1h');
    await live.page.waitForSelector('.live.open');

    await first.stop();
    for (const { page } of [overview, live]) {
      await page.waitForSelector('.banner', { timeout: 20_000 });
      // earlier results stay
      await eventually(page, async () => expect(await page.locator('main .panel').count()).toBeGreaterThan(0));
    }
    const second = await start(port);
    const id = await record(second, { ...METRIC, metric_name: 'after_the_break' });
    await overview.page.waitForSelector('th:has-text("after_the_break")', { timeout: 45_000 });
    await live.page.waitForSelector(`tr[data-id="${id}"]`, { timeout: 30_000 });
    for (const { page } of [overview, live]) {
      await page.locator('.banner').waitFor({ state: 'detached', timeout: 45_000 });
    }
    await live.page.waitForSelector('.live.open');
    const last = await record(second);
    await live.page.waitForSelector(`tr[data-id="${last}"]`);
    await Promise.all([overview.page.context().close(), live.page.context().close()]);
    await second.stop();
  }, 120_000);
});
