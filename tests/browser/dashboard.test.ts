import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { ANALYTICS, METRIC, post } from '../harness/client.ts';
import {
  chooseComparison,
  chooseInterval,
  chooseRange,
  chooseRefresh,
  chooseZone,
  enterRange,
  eventually,
  get,
  openDashboard,
  openOptions,
  plotOf,
  readFigures,
  record,
  refreshNow,
  removeFilter,
  signIn,
  signOut,
  waitUntilLoaded,
} from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { runCli, SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

let target: Target;
let browser: Browser;
beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await recordProduct(target, { users: 4, days: 4, rowsPerDay: 6 });
});
afterAll(async () => {
  await browser?.close();
  await target?.stop();
});

/** Returns the query parameters of the page's URL. */
const query = (page: Page) => new URL(page.url()).searchParams;

/** Creates a sign-in link for a user. */
async function linkFor(sub: string, ...args: string[]): Promise<[link: string, code: string]> {
  const env = { JWT_SECRET: SECRET };
  const { stdout } = await runCli(['token', '--sub', sub, ...args, '--link', target.url], { env });
  const [, code = ''] = stdout.trim().split('#code=');
  expect(code.split('.')).toHaveLength(3);
  return [stdout.trim(), code];
}

describe.skipIf(noBrowser !== undefined)('signing in', () => {
  test('accepts a pasted token, and reports why a token is rejected', async () => {
    const { page } = await openDashboard(browser, target);
    await page.fill('input[name=token]', 'no.token.atall');
    await page.click('button[type=submit]');
    await eventually(page, async () =>
      expect(await page.locator('[role=alert]').textContent()).toContain('Invalid token'),
    );
    await page.fill('input[name=token]', '\u65e5\u672c');
    await page.click('button[type=submit]');
    await page.waitForSelector('[role=alert]:has-text("This is not a token")');
    await page.fill('input[name=token]', `Bearer ${await token({ sub: 'ada', role: 'admin' })}\n`);
    await page.click('button[type=submit]');
    await page.waitForSelector('header');
    await eventually(page, async () => expect(await page.textContent('header')).toContain('ada admin'));
    await page.context().close();
  });

  test('accepts the code of a link once, and removes it from the URL and the history', async () => {
    const { page, requestedUrls, consoleErrors } = await openDashboard(browser, target);
    const [link, secret] = await linkFor('ada', '--role', 'admin');
    // in a tab where the page is already open
    await page.goto(link);
    await page.waitForSelector('header');
    await waitUntilLoaded(page);
    expect(page.url()).not.toContain('code');
    const stored = await page.evaluate("sessionStorage.getItem('rawlog.token')");
    expect(stored).not.toBe(secret);
    // another link of the same user needs no confirmation
    const [other] = await linkFor('ada', '--role', 'admin');
    for (const url of [`${target.url}/swagger`, other]) await page.goto(url);
    await page.waitForSelector('header');
    await waitUntilLoaded(page);
    await eventually(page, async () =>
      expect(await page.evaluate("sessionStorage.getItem('rawlog.token')")).not.toBe(stored),
    );
    expect(await page.locator('dialog').count()).toBe(0);
    await page.goBack();
    await page.waitForURL(`${target.url}/swagger`);
    await page.goBack();
    await page.waitForURL((url) => url.pathname === '/');
    expect(page.url()).not.toContain('code');
    for (const url of requestedUrls) expect(url).not.toContain(secret.split('.')[2] ?? '');
    expect(consoleErrors).toEqual([]);

    // a used link is reported, with or without a session, and does not end the session
    await page.goto(link);
    await page.waitForSelector('[role=alert]:has-text("already used"):has-text("still signed in")');
    await page.waitForSelector('header');
    await page.click('text=Dismiss');
    await page.waitForSelector('[role=alert]', { state: 'detached' });
    await signOut(page);
    await page.goto(link);
    await page.waitForSelector('[role=alert]:has-text("already used")');
    await page.waitForSelector('input[name=token]');
    // a bearer token in the fragment is not a code
    await page.goto(`${target.url}/#token=${await token({ sub: 'ada' })}`);
    await page.waitForSelector('[role=alert]:has-text("not valid")');
    expect(page.url()).not.toContain('token');
    await page.goto(`${target.url}/#code=${await token({ sub: 'ada' })}`);
    await page.waitForSelector('[role=alert]:has-text("not valid")');
    await eventually(page, async () => expect(await page.evaluate('sessionStorage.length')).toBe(0));
    await page.context().close();
  });

  test('asks before a link switches to another user; staying keeps the session', async () => {
    const { page } = await signIn(browser, target);
    const session = () => page.evaluate("sessionStorage.getItem('rawlog.token')");
    const before = await session();
    const mallory = `mallory ${'x'.repeat(200)}`;
    const [link] = await linkFor(mallory);
    const dialog = page.locator('dialog[open]');
    const waysToStay = [
      () => dialog.getByRole('button', { name: 'Stay signed in as ada' }).click(),
      () => page.keyboard.press('Escape'),
    ];
    // in the open page, and in one opened by the link
    for (const urls of [[link], [`${target.url}/swagger`, link]]) {
      for (const stay of waysToStay) {
        for (const url of urls) await page.goto(url);
        await dialog.waitFor();
        expect(await dialog.locator('p').first().textContent()).toContain('signed in as ada.');
        expect(await dialog.locator('p').first().textContent()).toContain(mallory);
        expect(await session()).toBe(before);
        expect(page.url()).not.toContain('code');
        await stay();
        await dialog.waitFor({ state: 'detached' });
        expect(await session()).toBe(before);
        await eventually(page, async () => expect(await page.textContent('header')).toContain('ada admin'));
      }
    }
    await page.goto(link);
    await dialog.getByRole('button', { name: /^Switch to mallory/ }).click();
    await eventually(page, async () => expect(await page.textContent('header')).toContain(mallory));
    expect(await session()).not.toBe(before);
    await page.context().close();
  });

  test('lasts for the tab: only its session storage holds the token', async () => {
    const { page } = await signIn(browser, target);
    await page.reload();
    await page.waitForSelector('header');
    await eventually(page, async () =>
      expect(await page.evaluate('JSON.stringify([localStorage, document.cookie])')).toBe('[{},""]'),
    );
    const other = await page.context().newPage();
    await other.goto(`${target.url}/`);
    await other.waitForSelector('input[name=token]');
    await signOut(page);
    await page.reload();
    await page.waitForSelector('input[name=token]');
    await eventually(page, async () => expect(await page.evaluate('sessionStorage.length')).toBe(0));
    await page.context().close();
  });

  test('ends when the token expires, reports it, and resumes at the same URL', async () => {
    const { page } = await signIn(browser, target, { sub: 'ada', role: 'admin', exp: secondsFromNow(12) });
    await page.click('nav >> text=Metrics');
    await chooseRefresh(page, 5);
    const url = page.url();
    await page.waitForSelector('input[name=token]', { timeout: 40_000 });
    await eventually(page, async () =>
      expect(await page.locator('[role=alert]').textContent()).toContain('Your session has ended. Token has expired'),
    );
    expect(page.url()).toBe(url);
    await page.fill('input[name=token]', await token({ sub: 'ada', role: 'admin' }));
    await page.click('button[type=submit]');
    await page.waitForSelector('h2:has-text("page_load_time")');
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('the URL', () => {
  test('contains the whole state: it can be shared, and back and forward work', async () => {
    const { page, consoleErrors } = await signIn(browser, target);
    await page.click('nav >> text=Metrics');
    await page.getByRole('combobox', { name: 'Metric' }).selectOption('response_bytes');
    await chooseRange(page, 'Last 30 days');
    await chooseInterval(page, '6h');
    await chooseZone(page, 'Asia/Tokyo');
    await chooseComparison(page, 'Previous period');
    await eventually(page, async () =>
      expect(Object.fromEntries(query(page))).toEqual({
        view: 'metric',
        name: 'response_bytes',
        range: '30d',
        interval: '6h',
        compare: 'previous',
        tz: 'Asia/Tokyo',
        week: 'sunday',
      }),
    );
    const count = (await get(target, '/api/metrics/series', { name: 'response_bytes' })).count;
    const shown = await eventually(page, async () => {
      const current = await readFigures(page);
      expect(current['Count']).toBe(count);
      return current;
    });

    const other = await signIn(browser, target, { sub: 'bob', role: 'admin' }, { timezoneId: 'America/Lima' });
    await other.page.goto(page.url());
    await waitUntilLoaded(other.page);
    await eventually(other.page, async () => expect(await readFigures(other.page)).toEqual(shown));
    const options = await openOptions(other.page);
    await eventually(other.page, async () =>
      expect([
        await options.getByRole('combobox', { name: 'Time zone' }).inputValue(),
        await options.getByRole('combobox', { name: 'Interval' }).inputValue(),
      ]).toEqual(['Asia/Tokyo', '6h']),
    );

    const button = page.getByRole('button', { name: 'Range: ' });
    expect(await button.textContent()).toBe('Range: Last 30 days vs previous');
    await page.goBack();
    await eventually(page, async () => expect(await button.textContent()).toBe('Range: Last 30 days'));
    await page.goBack();
    await page.goBack();
    const interval = (await openOptions(page)).getByRole('combobox', { name: 'Interval' });
    await eventually(page, async () => expect(await interval.inputValue()).toBe('auto'));
    await page.goForward();
    await eventually(page, async () => expect(await interval.inputValue()).toBe('6h'));
    expect([...consoleErrors, ...other.consoleErrors]).toEqual([]);
    await Promise.all([page.context().close(), other.page.context().close()]);
  });

  test('contains a custom range, entered in the selected time zone', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?tz=Asia/Kolkata');
    await enterRange(page, '2026-03-01T00:00', '2026-03-08T12:30');
    await page.waitForURL((url) => url.searchParams.get('from') === '2026-02-28T18:30:00.000Z');
    expect(query(page).get('to')).toBe('2026-03-08T07:00:00.000Z');
    await eventually(page, async () => expect(await page.textContent('main')).toContain('No metrics in this range'));
    await page.click('button[aria-label=Earlier]');
    await page.waitForURL((url) => url.searchParams.get('to') === '2026-03-04T12:45:00.000Z');
    await page.context().close();
  });

  test('may contain invalid parameters and markup without harm', async () => {
    const { page, visit, consoleErrors } = await signIn(browser, target);
    await visit('/?view=nothing&range=9&from=x&to=y&tz=Mars/Base&interval=1s&refresh=1&top=-4&step=&within=never');
    expect(query(page).get('tz')).not.toBe('Mars/Base');
    await visit('/?view=metric&name=%00%3Cimg%20src=x%20onerror=alert(1)%3E');
    await eventually(page, async () =>
      expect(await page.textContent('main')).toContain(
        'Nothing named \0<img src=x onerror=alert(1)> has been recorded',
      ),
    );
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('a chart', () => {
  const ends = (page: Page) => [query(page).get('from'), query(page).get('to')].map((text) => Date.parse(text ?? ''));

  test('draws its lines, and shows the bucket under the pointer', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=metric&name=page_load_time&range=7d');
    const colors = `(() => {
      const canvas = document.querySelector('.plot canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data[i] + ',' + data[i + 1] + ',' + data[i + 2]);
      return [...found];
    })()`;
    // the median and p95, in the colors of the style sheet
    for (const color of ['42,95,207', '11,122,117']) {
      await eventually(page, async () => expect(await page.evaluate(colors)).toContain(color));
    }
    const plot = await plotOf(page);
    await page.mouse.move(plot.x + plot.width - 5, plot.middle);
    await eventually(page, async () =>
      expect(await page.textContent('.pointed')).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d, Median \(p50\) /),
    );
    await page.context().close();
  });

  test('keeps its tooltip inside the window and off the bucket it explains, and marks the bucket in progress', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=event&name=page_view&range=7d&interval=1d');
    const plot = await plotOf(page);
    const boxOf = async (selector: string) => {
      const box = await page.locator(selector).boundingBox();
      if (!box) throw new Error(`${selector} is not shown`);
      return box;
    };
    for (const part of [0.01, 0.3, 0.7, 0.99]) {
      await page.mouse.move(plot.x + plot.width * part, plot.middle);
      await eventually(page, async () => {
        const [tooltip, bucket] = [await boxOf('.tooltip'), await boxOf('.pointed-bucket')];
        expect(bucket.x).toBeLessThanOrEqual(plot.x + plot.width * part);
        expect(bucket.x + bucket.width).toBeGreaterThanOrEqual(plot.x + plot.width * part);
        expect(tooltip.x >= bucket.x + bucket.width || tooltip.x + tooltip.width <= bucket.x).toBe(true);
        expect(tooltip.x).toBeGreaterThanOrEqual(plot.x);
        expect(tooltip.x + tooltip.width).toBeLessThanOrEqual(plot.x + plot.width + 1);
      });
      // the bucket in progress is as wide as the others
      await eventually(page, async () => expect((await boxOf('.pointed-bucket')).width).toBeCloseTo(plot.width / 7, 0));
    }
    await eventually(page, async () =>
      expect(await page.textContent('.tooltip')).toContain('Incomplete: still in progress'),
    );
    await eventually(page, async () => expect(await page.locator('.pointed-bar:not([hidden])').count()).toBe(1));
    await page.context().close();
  });

  test('shows its tooltip on a tap', async () => {
    const { page, visit } = await signIn(browser, target, undefined, {
      viewport: { width: 390, height: 800 },
      hasTouch: true,
      isMobile: true,
    });
    await visit('/?view=event&name=page_view&range=7d&interval=1d');
    const plot = await plotOf(page);
    await page.touchscreen.tap(plot.x + plot.width / 2, plot.middle);
    const tooltip = page.locator('.tooltip');
    await tooltip.waitFor();
    await eventually(page, async () => {
      const box = await tooltip.boundingBox();
      expect(box?.x).toBeGreaterThanOrEqual(0);
      expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(390);
    });
    await page.touchscreen.tap(20, 20);
    await tooltip.waitFor({ state: 'detached' });
    await page.context().close();
  });

  test('has a logarithmic axis and cuts off outliers if the URL says so, and tells what it does not show', async () => {
    const at = (hour: number) => `2026-03-01T${String(hour).padStart(2, '0')}:30:00Z`;
    const values = [3, 4, 5, 3, 4, 6, 5, 4, 900, 0];
    const metrics = values.map((metric_value, i) => ({
      metric_name: 'spiky',
      metric_value,
      timestamp: at(i),
    }));
    const authorization = `Bearer ${await token({ sub: 'spiky' })}`;
    expect((await post(target, '/log_batch', { metrics }, { authorization })).status).toBe(200);
    const { page, visit } = await signIn(browser, target);
    const path = `/?view=metric&name=spiky&from=${at(0).replace(':30', ':00')}&to=${at(10).replace(':30', ':00')}&interval=1h&tz=UTC`;
    await visit(path);
    const plot = await plotOf(page);
    expect(await page.locator('.notes').count()).toBe(0);
    await visit(`${path}&cap=1`);
    await eventually(page, async () =>
      expect(await page.textContent('.notes')).toBe('1 value above 6 cut off at the top.'),
    );
    // the tooltip has the value that is cut off
    await page.mouse.move(plot.x + plot.width * 0.85, plot.middle);
    await page.locator('.tooltip data[value="900"]').waitFor();
    await visit(`${path}&axis=log`);
    await eventually(page, async () =>
      expect(await page.textContent('.notes')).toBe('Logarithmic axis. 1 value of zero or less cannot be shown on it.'),
    );
    await page.context().close();
  });

  test('zooms by dragging, pans by dragging with Shift, and updates the URL', async () => {
    const { page, visit, consoleErrors } = await signIn(browser, target);
    const [from, to] = [Date.now() - 4 * 86_400_000, Date.now()];
    const range = `from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}`;
    await visit(`/?view=event&name=page_view&interval=30m&${range}`);
    const plot = await plotOf(page);
    await page.mouse.move(plot.x + plot.width * 0.25, plot.middle);
    await page.mouse.down();
    await page.mouse.move(plot.x + plot.width * 0.75, plot.middle, { steps: 5 });
    await page.mouse.up();
    await page.waitForURL((url) => Date.parse(url.searchParams.get('from') ?? '') > from);
    const zoomed = ends(page);
    // the chart shows exactly the range, to the pixel
    const pixel = (to - from) / plot.width;
    expect(Math.abs((zoomed[0] as number) - (from + (to - from) / 4))).toBeLessThan(2 * pixel);
    expect(Math.abs((zoomed[1] as number) - (to - (to - from) / 4))).toBeLessThan(2 * pixel);
    await waitUntilLoaded(page);

    await page.keyboard.down('Shift');
    await page.mouse.move(plot.x + plot.width * 0.3, plot.middle);
    await page.mouse.down();
    await page.mouse.move(plot.x + plot.width * 0.8, plot.middle, { steps: 5 });
    await page.mouse.up();
    await page.keyboard.up('Shift');
    await page.waitForURL((url) => Date.parse(url.searchParams.get('from') ?? '') < (zoomed[0] as number));
    const moved = ends(page);
    const length = (zoomed[1] as number) - (zoomed[0] as number);
    expect(((moved[1] as number) - (moved[0] as number)) / length).toBeCloseTo(1, 6);
    expect(((zoomed[0] as number) - (moved[0] as number)) / length).toBeCloseTo(0.5, 1);
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('shows the count of a bar under every part of it', async () => {
    const hour = (at: number) => `2026-03-01T${String(at).padStart(2, '0')}:30:00Z`;
    const counts = [4, 1, 3, 0, 2, 5];
    const analytics = counts.flatMap((count, at) =>
      Array.from({ length: count }, () => ({ type: 'bars', data: {}, data_index: 'x', timestamp: hour(at) })),
    );
    const authorization = `Bearer ${await token({ sub: 'bars' })}`;
    expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
    const { page, visit, consoleErrors } = await signIn(browser, target);
    // the range cuts the first bucket in half
    const range = 'from=2026-03-01T00:30:00Z&to=2026-03-01T06:00:00Z';
    await visit(`/?view=event&name=bars&interval=1h&tz=UTC&refresh=0&${range}`);
    const plot = await plotOf(page);
    for (const [index, count] of counts.entries()) {
      for (const part of [0.1, 0.4, 0.6, 0.9]) {
        const hours = index === 0 ? part / 2 : index - 0.5 + part;
        await page.mouse.move(plot.x + (plot.width * hours) / 5.5, plot.middle);
        await eventually(page, async () =>
          expect({
            part,
            time: (await page.textContent('.pointed'))?.slice(0, 16),
            count: await page
              .locator('.tooltip tr', { hasText: 'Events' })
              .locator('data')
              .first()
              .getAttribute('value'),
          }).toEqual({ part, time: `2026-03-01 0${index}:00`, count: String(count) }),
        );
      }
    }
    // the arrow keys move through the same buckets
    await page.mouse.move(0, 0);
    await page.locator('.plot').focus();
    for (const index of counts.keys()) {
      await page.keyboard.press('ArrowRight');
      await page.waitForSelector(`.pointed:has-text("2026-03-01 0${index}:00")`);
    }
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('toggles a line from the legend', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=metric&name=page_load_time&range=7d');
    const button = page.locator('.legend button', { hasText: 'p95' });
    await eventually(page, async () => expect(await button.getAttribute('aria-pressed')).toBe('true'));
    await button.click();
    await eventually(page, async () => expect(await button.getAttribute('aria-pressed')).toBe('false'));
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('empty and error states', () => {
  test('an empty log offers a command that stores the first row, and shows that row without a reload', async () => {
    const empty = await startTarget({ ...UNLIMITED });
    const { page, consoleErrors } = await signIn(browser, empty, { sub: 'first' });
    const command = (await page.textContent('.empty code')) ?? '';
    expect(command).toStartWith(`curl -X POST ${empty.url}/log_raw_metric `);
    const { stdout, exitCode } = Bun.spawnSync(['sh', '-c', `${command} -s`]);
    expect([exitCode, JSON.parse(stdout.toString())]).toEqual([0, expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    await page.waitForSelector('h2:has-text("Top metrics")', { timeout: 15_000 });
    await eventually(page, async () => expect(await page.textContent('main')).toContain('page_load_time'));
    expect(consoleErrors).toEqual([]);
    await page.context().close();
    await empty.stop();
  });

  test('a new user sees why their rows are rejected', async () => {
    const empty = await startTarget({ ...UNLIMITED });
    await post(empty, '/log_raw_metric', { metric_name: 'x' });
    const { page } = await signIn(browser, empty, { sub: 'user-1' });
    await page.waitForSelector('li:has-text("body.metric_value Field required")');
    await page.context().close();
    await empty.stop();
  });

  test('a user without rows sees a different message than an empty log', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?user=nobody-here');
    await eventually(page, async () => expect(await page.textContent('main')).toContain('No data for nobody-here'));
    await page.click('text=Show all users');
    await page.waitForSelector('h2:has-text("Top metrics")');
    await page.context().close();
  });

  test('a filter for the empty label is visible and can be removed', async () => {
    await record(target, { type: 'unlabelled', data: {}, data_index: '' });
    await record(target, { type: 'unlabelled', data: {}, data_index: 'some' });
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=event&name=unlabelled&range=1h');
    await page.click('table.bars button:has-text("(empty)")');
    await page.waitForURL(/label=&/);
    await waitUntilLoaded(page);
    await eventually(page, async () => expect((await readFigures(page))['Events']).toBe(1));
    await removeFilter(page, 'Label is (empty)');
    await page.waitForSelector('.figure data[value="2"]');
    await page.context().close();
  });

  test('a metric that is not in the list can be opened by name', async () => {
    const many = await startTarget({ ...UNLIMITED });
    const metrics = Array.from({ length: 600 }, (_, i) => ({ ...METRIC, metric_name: `metric_${i}` }));
    await post(many, '/log_batch', { metrics });
    const { page, visit } = await signIn(browser, many);
    await visit('/?view=metric&range=1h');
    const field = page.getByRole('combobox', { name: 'Metric' });
    await field.fill('metric_599');
    await field.press('Enter');
    await page.waitForSelector('h2:has-text("metric_599")');
    await waitUntilLoaded(page);
    await eventually(page, async () => expect((await readFigures(page))['Count']).toBe(1));
    await page.context().close();
    await many.stop();
  });

  test('every view works with too many names to list, and a name can be typed', async () => {
    const many = await startTarget({ ...UNLIMITED, MAX_RESULT_BYTES: '30000' });
    const names = Array.from({ length: 400 }, (_, i) => `${'name_'.repeat(20)}${i}`);
    const metrics = names.map((metric_name) => ({ ...METRIC, metric_name }));
    const analytics = names.map((type) => ({ ...ANALYTICS, type }));
    const authorization = `Bearer ${await token({ sub: 'ada' })}`;
    expect((await post(many, '/log_batch', { metrics, analytics }, { authorization })).status).toBe(200);
    const { page, visit, consoleErrors } = await signIn(browser, many);
    await page.waitForSelector('section:has(#top-types) :text("And 392 more.")');
    for (const [view, label] of [
      ['metric', 'Metric'],
      ['event', 'Type'],
    ] as const) {
      await visit(`/?view=${view}&range=1h`);
      const field = page.getByRole('combobox', { name: label, exact: true });
      await field.fill(names[399] ?? '');
      await field.press('Enter');
      await page.waitForSelector(`h2:has-text("${names[399]}")`);
      await page.waitForSelector('.figure data[value="1"]');
    }
    await visit(`/?view=records&range=1h&name=${names[7]}`);
    await page.waitForSelector('tr[data-id]');
    await visit(`/?view=metric&range=all&name=${names[3]}`);
    await page.waitForSelector('.figure data[value="1"]');
    // the browser logs the rejected queries
    expect(consoleErrors.length).toBeGreaterThan(0);
    expect(consoleErrors.filter((text) => !text.includes('422'))).toEqual([]);
    await page.context().close();
    await many.stop();
  });

  test("access to another user's rows is denied, with a button back to the user's own data", async () => {
    await record(target, ANALYTICS);
    const { page, visit } = await signIn(browser, target, { sub: 'ada' });
    await visit('/?view=overview&user=user-1');
    await eventually(page, async () =>
      expect(await page.textContent('.error')).toContain('You do not have access to this data'),
    );
    await page.locator('.error button').first().click();
    await page.waitForSelector('h2:has-text("Top metrics")');
    await eventually(page, async () => expect(query(page).get('user')).toBeNull());
    await page.context().close();
  });

  test('a pending query shows a loading state, and a failed one its error and a retry button', async () => {
    const { page } = await signIn(browser, target);
    const gate = Promise.withResolvers<void>();
    let requests = 0;
    await page.route('**/api/metrics/series*', async (route) => {
      requests++;
      await gate.promise;
      await route.continue();
    });
    await page.click('nav >> text=Metrics');
    // the message changes when the query is slow
    await page
      .locator('main .loading', { hasText: /^(Loading…|Still loading)/ })
      .first()
      .waitFor();
    await page.locator('text=Still loading').first().waitFor();
    gate.resolve();
    await page.waitForSelector('.figure');
    expect(requests).toBeGreaterThan(0);
    await page.unroute('**/api/metrics/series*');

    // an invalid interval, which the page itself never sends
    await page.route('**/api/metrics/series*', (route) =>
      route.continue({
        url: route
          .request()
          .url()
          .replace(/interval=\w+/, 'interval=nonsense'),
      }),
    );
    await refreshNow(page);
    const error = page.locator('.error').first();
    await eventually(page, async () => expect(await error.textContent()).toContain('the interval should be'));
    await eventually(page, async () => expect(await error.locator('code').textContent()).toMatch(/^[0-9a-f]+-/));
    await page.unroute('**/api/metrics/series*');
    await error.locator('button').click();
    await error.waitFor({ state: 'detached' });
    await page.context().close();
  });
});
