import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { ANALYTICS, METRIC, post } from '../harness/client.ts';
import { eventually, figures, get, openDashboard, plotOf, record, settled, signedIn } from '../harness/dashboard.ts';
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

/** The parameters of the address that the page is at. */
const query = (page: Page) => new URL(page.url()).searchParams;

/** A link that signs a user in, and its code. */
async function linkFor(sub: string, ...args: string[]): Promise<[link: string, code: string]> {
  const env = { JWT_SECRET: SECRET };
  const { stdout } = await runCli(['token', '--sub', sub, ...args, '--link', target.url], { env });
  const [, code = ''] = stdout.trim().split('#code=');
  expect(code.split('.')).toHaveLength(3);
  return [stdout.trim(), code];
}

describe.skipIf(noBrowser !== undefined)('signing in', () => {
  test('by a token that is pasted; a wrong one is refused with the reason', async () => {
    const { page } = await openDashboard(browser, target);
    await page.fill('input[name=token]', 'no.token.atall');
    await page.click('button[type=submit]');
    await eventually(page, async () =>
      expect(await page.locator('[role=alert]').textContent()).toContain('Invalid token'),
    );
    await page.fill('input[name=token]', '\u65e5\u672c');
    await page.click('button[type=submit]');
    await page.waitForSelector('[role=alert]:has-text("This is no token")');
    await page.fill('input[name=token]', `Bearer ${await token({ sub: 'ada', role: 'admin' })}\n`);
    await page.click('button[type=submit]');
    await page.waitForSelector('header');
    await eventually(page, async () => expect(await page.textContent('header')).toContain('ada admin'));
    await page.context().close();
  });

  test('by a link, whose code is gone from the address and from the history at once, and works once', async () => {
    const { page, requested, complaints } = await openDashboard(browser, target);
    const [link, secret] = await linkFor('ada', '--role', 'admin');
    // in a tab that has the page already
    await page.goto(link);
    await page.waitForSelector('header');
    await settled(page);
    expect(page.url()).not.toContain('code');
    const kept = await page.evaluate("sessionStorage.getItem('rawlog.token')");
    expect(kept).not.toBe(secret);
    // anew, with another link of the same user: nothing is asked
    const [other] = await linkFor('ada', '--role', 'admin');
    for (const address of [`${target.url}/swagger`, other]) await page.goto(address);
    await page.waitForSelector('header');
    await settled(page);
    await eventually(page, async () =>
      expect(await page.evaluate("sessionStorage.getItem('rawlog.token')")).not.toBe(kept),
    );
    expect(await page.locator('dialog').count()).toBe(0);
    await page.goBack();
    await page.waitForURL(`${target.url}/swagger`);
    await page.goBack();
    await page.waitForURL((url) => url.pathname === '/');
    expect(page.url()).not.toContain('code');
    for (const address of requested) expect(address).not.toContain(secret.split('.')[2] ?? '');
    expect(complaints).toEqual([]);

    // used again: the session goes on, and without one the reason is said
    await page.goto(link);
    await page.waitForSelector('[role=alert]:has-text("already used"):has-text("still signed in")');
    await page.waitForSelector('header');
    await page.click('text=Close');
    await page.waitForSelector('[role=alert]', { state: 'detached' });
    await page.click('text=Sign out');
    await page.waitForSelector('input[name=token]');
    await page.goto(link);
    await page.waitForSelector('[role=alert]:has-text("already used")');
    await page.waitForSelector('input[name=token]');
    // a bearer token in the fragment is no code
    await page.goto(`${target.url}/#token=${await token({ sub: 'ada' })}`);
    await page.waitForSelector('[role=alert]:has-text("not valid")');
    expect(page.url()).not.toContain('token');
    await page.goto(`${target.url}/#code=${await token({ sub: 'ada' })}`);
    await page.waitForSelector('[role=alert]:has-text("not valid")');
    await eventually(page, async () => expect(await page.evaluate('sessionStorage.length')).toBe(0));
    await page.context().close();
  });

  test('by a link of another user only after asking; a refusal keeps the session, and the link', async () => {
    const { page } = await signedIn(browser, target);
    const session = () => page.evaluate("sessionStorage.getItem('rawlog.token')");
    const before = await session();
    const mallory = `mallory ${'x'.repeat(200)}`;
    const [link] = await linkFor(mallory);
    const dialog = page.locator('dialog[open]');
    const refusals = [
      () => dialog.getByRole('button', { name: 'Stay signed in as ada' }).click(),
      () => page.keyboard.press('Escape'),
    ];
    // in the open page, and in one that is opened with the link
    for (const address of [[link], [`${target.url}/swagger`, link]]) {
      for (const refuse of refusals) {
        for (const one of address) await page.goto(one);
        await dialog.waitFor();
        expect(await dialog.locator('p').first().textContent()).toContain('signed in as ada.');
        expect(await dialog.locator('p').first().textContent()).toContain(mallory);
        expect(await session()).toBe(before);
        expect(page.url()).not.toContain('code');
        await refuse();
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

  test('holds for the tab alone: nothing is kept beside its session', async () => {
    const { page } = await signedIn(browser, target);
    await page.reload();
    await page.waitForSelector('header');
    await eventually(page, async () =>
      expect(await page.evaluate('JSON.stringify([localStorage, document.cookie])')).toBe('[{},""]'),
    );
    const other = await page.context().newPage();
    await other.goto(`${target.url}/`);
    await other.waitForSelector('input[name=token]');
    await page.click('text=Sign out');
    await page.waitForSelector('input[name=token]');
    await page.reload();
    await page.waitForSelector('input[name=token]');
    await eventually(page, async () => expect(await page.evaluate('sessionStorage.length')).toBe(0));
    await page.context().close();
  });

  test('ends when the token expires, with the reason, and goes on at the same place', async () => {
    const { page } = await signedIn(browser, target, { sub: 'ada', role: 'admin', exp: secondsFromNow(12) });
    await page.click('nav >> text=Metrics');
    await page.getByRole('combobox', { name: 'Refresh' }).selectOption('5');
    const at = page.url();
    await page.waitForSelector('input[name=token]', { timeout: 40_000 });
    await eventually(page, async () =>
      expect(await page.locator('[role=alert]').textContent()).toContain('The session is over. Token has expired'),
    );
    expect(page.url()).toBe(at);
    await page.fill('input[name=token]', await token({ sub: 'ada', role: 'admin' }));
    await page.click('button[type=submit]');
    await page.waitForSelector('h2:has-text("page_load_time")');
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('the address', () => {
  test('has all that is chosen: who opens it sees the same, and back and forward work', async () => {
    const { page, complaints } = await signedIn(browser, target);
    await page.click('nav >> text=Metrics');
    await page.getByRole('combobox', { name: 'Metric' }).selectOption('response_bytes');
    await page.getByRole('combobox', { name: 'Range' }).selectOption('30d');
    await page.getByRole('combobox', { name: 'Bucket' }).selectOption('1d');
    await page.getByRole('combobox', { name: 'Zone' }).selectOption('Asia/Tokyo');
    await page.getByLabel('Compare with').check();
    await eventually(page, async () =>
      expect(Object.fromEntries(query(page))).toEqual({
        view: 'metric',
        name: 'response_bytes',
        range: '30d',
        interval: '1d',
        compare: '1',
        tz: 'Asia/Tokyo',
      }),
    );
    const count = (await get(target, '/api/metrics/series', { name: 'response_bytes' })).count;
    const shown = await eventually(page, async () => {
      const read = await figures(page);
      expect(read['Count']).toBe(count);
      return read;
    });

    const other = await signedIn(browser, target, { sub: 'bob', role: 'admin' }, { timezoneId: 'America/Lima' });
    await other.page.goto(page.url());
    await settled(other.page);
    await eventually(other.page, async () => expect(await figures(other.page)).toEqual(shown));
    await eventually(other.page, async () =>
      expect(await other.page.getByRole('combobox', { name: 'Zone' }).inputValue()).toBe('Asia/Tokyo'),
    );
    await eventually(other.page, async () =>
      expect(await other.page.getByRole('combobox', { name: 'Bucket' }).inputValue()).toBe('1d'),
    );

    await page.goBack();
    await eventually(page, async () => expect(await page.getByLabel('Compare with').isChecked()).toBe(false));
    await page.goBack();
    await page.goBack();
    await eventually(page, async () =>
      expect(await page.getByRole('combobox', { name: 'Bucket' }).inputValue()).toBe('auto'),
    );
    await page.goForward();
    await eventually(page, async () =>
      expect(await page.getByRole('combobox', { name: 'Bucket' }).inputValue()).toBe('1d'),
    );
    expect([...complaints, ...other.complaints]).toEqual([]);
    await Promise.all([page.context().close(), other.page.context().close()]);
  });

  test('takes a range of its own, in the zone that is chosen', async () => {
    const { page, visit } = await signedIn(browser, target);
    await visit('/?tz=Asia/Kolkata');
    await page.getByRole('combobox', { name: 'Range' }).selectOption('custom');
    await page.getByRole('textbox', { name: 'From' }).fill('2026-03-01T00:00');
    await page.getByRole('textbox', { name: 'to', exact: true }).fill('2026-03-08T12:30');
    await page.click('fieldset button:has-text("Show")');
    await page.waitForURL((url) => url.searchParams.get('from') === '2026-02-28T18:30:00.000Z');
    expect(query(page).get('to')).toBe('2026-03-08T07:00:00.000Z');
    await eventually(page, async () => expect(await page.textContent('main')).toContain('No metric in this range'));
    await page.click('button[aria-label=Earlier]');
    await page.waitForURL((url) => url.searchParams.get('to') === '2026-03-04T12:45:00.000Z');
    await page.context().close();
  });

  test('makes no harm of what makes no sense', async () => {
    const { page, visit, complaints } = await signedIn(browser, target);
    await visit('/?view=nothing&range=9&from=x&to=y&tz=Mars/Base&interval=1s&refresh=1&top=-4&step=&within=never');
    expect(query(page).get('tz')).not.toBe('Mars/Base');
    await visit('/?view=metric&name=%00%3Cimg%20src=x%20onerror=alert(1)%3E');
    await eventually(page, async () => expect(await page.textContent('main')).toContain('No value in this range'));
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('a chart', () => {
  const ends = (page: Page) => [query(page).get('from'), query(page).get('to')].map((text) => Date.parse(text ?? ''));

  test('draws its lines, and says what is under the pointer', async () => {
    const { page, visit } = await signedIn(browser, target);
    await visit('/?view=metric&name=page_load_time&range=7d');
    const colours = `(() => {
      const canvas = document.querySelector('.plot canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data[i] + ',' + data[i + 1] + ',' + data[i + 2]);
      return [...found];
    })()`;
    // p50 and p99 in the style sheet's colours; lines that are equal cover each other
    for (const colour of ['53,88,184', '168,48,122']) {
      await eventually(page, async () => expect(await page.evaluate(colours)).toContain(colour));
    }
    const plot = await plotOf(page);
    await page.mouse.move(plot.x + plot.width - 5, plot.middle);
    await eventually(page, async () =>
      expect(await page.textContent('.pointed')).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d/),
    );
    await page.context().close();
  });

  test('is zoomed by dragging, moved by dragging with shift, and both are in the address', async () => {
    const { page, visit, complaints } = await signedIn(browser, target);
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
    // the chart shows exactly the range: to the pixel
    const pixel = (to - from) / plot.width;
    expect(Math.abs((zoomed[0] as number) - (from + (to - from) / 4))).toBeLessThan(2 * pixel);
    expect(Math.abs((zoomed[1] as number) - (to - (to - from) / 4))).toBeLessThan(2 * pixel);
    await settled(page);

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
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('says of every part of a bar what the bar shows', async () => {
    const hour = (at: number) => `2026-03-01T${String(at).padStart(2, '0')}:30:00Z`;
    const counts = [4, 1, 3, 0, 2, 5];
    const analytics = counts.flatMap((count, at) =>
      Array.from({ length: count }, () => ({ type: 'bars', data: {}, data_index: 'x', timestamp: hour(at) })),
    );
    const authorization = `Bearer ${await token({ sub: 'bars' })}`;
    expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
    const { page, visit, complaints } = await signedIn(browser, target);
    // the range cuts the first bucket in half
    const range = 'from=2026-03-01T00:30:00Z&to=2026-03-01T06:00:00Z';
    await visit(`/?view=event&name=bars&interval=1h&tz=UTC&refresh=0&${range}`);
    const plot = await plotOf(page);
    for (const [place, count] of counts.entries()) {
      for (const part of [0.1, 0.4, 0.6, 0.9]) {
        const hours = place === 0 ? part / 2 : place - 0.5 + part;
        await page.mouse.move(plot.x + (plot.width * hours) / 5.5, plot.middle);
        await eventually(page, async () =>
          expect({
            part,
            time: (await page.textContent('.pointed'))?.slice(0, 16),
            count: await page.locator('.legend button', { hasText: 'Events' }).locator('b').textContent(),
          }).toEqual({ part, time: `2026-03-01 0${place}:00`, count: String(count) }),
        );
      }
    }
    // the arrow keys go through the same buckets
    await page.mouse.move(0, 0);
    await page.locator('.plot').focus();
    for (const place of counts.keys()) {
      await page.keyboard.press('ArrowRight');
      await page.waitForSelector(`.pointed:has-text("2026-03-01 0${place}:00")`);
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('shows and hides a line by its name in the legend', async () => {
    const { page, visit } = await signedIn(browser, target);
    await visit('/?view=metric&name=page_load_time&range=7d');
    const button = page.locator('.legend button', { hasText: 'p99' });
    await eventually(page, async () => expect(await button.getAttribute('aria-pressed')).toBe('true'));
    await button.click();
    await eventually(page, async () => expect(await button.getAttribute('aria-pressed')).toBe('false'));
    await page.context().close();
  });
});

describe.skipIf(noBrowser !== undefined)('when there is nothing to show', () => {
  test('an empty log gives a command that stores a first row, and shows it by itself', async () => {
    const empty = await startTarget({ ...UNLIMITED });
    const { page, complaints } = await signedIn(browser, empty, { sub: 'first' });
    const command = (await page.textContent('.empty code')) ?? '';
    expect(command).toStartWith(`curl -X POST ${empty.url}/log_raw_metric `);
    const { stdout, exitCode } = Bun.spawnSync(['sh', '-c', `${command} -s`]);
    expect([exitCode, JSON.parse(stdout.toString())]).toEqual([0, expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    await page.waitForSelector('h2:has-text("Top metrics")', { timeout: 15_000 });
    await eventually(page, async () => expect(await page.textContent('main')).toContain('page_load_time'));
    expect(complaints).toEqual([]);
    await page.context().close();
    await empty.stop();
  });

  test('a newcomer whose rows are refused sees why', async () => {
    const empty = await startTarget({ ...UNLIMITED });
    await post(empty, '/log_raw_metric', { metric_name: 'x' });
    const { page } = await signedIn(browser, empty, { sub: 'user-1' });
    await page.waitForSelector('li:has-text("body.metric_value Field required")');
    await page.context().close();
    await empty.stop();
  });

  test('a user without rows is told from a log without rows', async () => {
    const { page, visit } = await signedIn(browser, target);
    await visit('/?user=nobody-here');
    await eventually(page, async () =>
      expect(await page.textContent('main')).toContain('nobody-here has recorded nothing'),
    );
    await page.click('text=Show all users');
    await page.waitForSelector('h2:has-text("Top metrics")');
    await page.context().close();
  });

  test('a filter for the empty label can be seen and taken back', async () => {
    await record(target, { type: 'unlabelled', data: {}, data_index: '' });
    await record(target, { type: 'unlabelled', data: {}, data_index: 'some' });
    const { page, visit } = await signedIn(browser, target);
    await visit('/?view=event&name=unlabelled&range=1h');
    await page.click('table.bars button:has-text("(empty)")');
    await page.waitForURL(/label=&/);
    await settled(page);
    await eventually(page, async () => expect((await figures(page))['Events']).toBe(1));
    await page.click('button:has-text("(empty) ×")');
    await page.waitForSelector('.figure data[value="2"]');
    await page.context().close();
  });

  test('of very many metrics each can be opened by its name', async () => {
    const many = await startTarget({ ...UNLIMITED });
    const metrics = Array.from({ length: 600 }, (_, i) => ({ ...METRIC, metric_name: `metric_${i}` }));
    await post(many, '/log_batch', { metrics });
    const { page, visit } = await signedIn(browser, many);
    await visit('/?view=metric&range=1h');
    const field = page.getByRole('combobox', { name: 'Metric' });
    await field.fill('metric_599');
    await field.press('Enter');
    await page.waitForSelector('h2:has-text("metric_599")');
    await settled(page);
    await eventually(page, async () => expect((await figures(page))['Count']).toBe(1));
    await page.context().close();
    await many.stop();
  });

  test('where there are too many names to list, each view works, and a name can be typed', async () => {
    const many = await startTarget({ ...UNLIMITED, MAX_RESULT_BYTES: '30000' });
    const names = Array.from({ length: 400 }, (_, i) => `${'name_'.repeat(20)}${i}`);
    const metrics = names.map((metric_name) => ({ ...METRIC, metric_name }));
    const analytics = names.map((type) => ({ ...ANALYTICS, type }));
    const authorization = `Bearer ${await token({ sub: 'ada' })}`;
    expect((await post(many, '/log_batch', { metrics, analytics }, { authorization })).status).toBe(200);
    const { page, visit, complaints } = await signedIn(browser, many);
    await page.waitForSelector('section:has(#top-metrics) :text("And 392 more.")');
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
    // the browser itself reports the rejected queries
    expect(complaints.length).toBeGreaterThan(0);
    expect(complaints.filter((text) => !text.includes('422'))).toEqual([]);
    await page.context().close();
    await many.stop();
  });

  test("another user's rows are refused with a way back to one's own", async () => {
    await record(target, ANALYTICS);
    const { page, visit } = await signedIn(browser, target, { sub: 'ada' });
    await visit('/?view=overview&user=user-1');
    await eventually(page, async () =>
      expect(await page.textContent('.failure')).toContain('This token may not see that'),
    );
    await page.locator('.failure button').first().click();
    await page.waitForSelector('h2:has-text("Top metrics")');
    await eventually(page, async () => expect(query(page).get('user')).toBeNull());
    await page.context().close();
  });

  test('what is waited for is said, and a question that fails says why and can be asked again', async () => {
    const { page } = await signedIn(browser, target);
    const held = Promise.withResolvers<void>();
    let asked = 0;
    await page.route('**/api/metrics/series*', async (route) => {
      asked++;
      await held.promise;
      await route.continue();
    });
    await page.click('nav >> text=Metrics');
    // it says so at once, and something else when it takes long
    await page.waitForSelector('main [role=status]:text-matches("^(Reading…|Still reading)")');
    await page.waitForSelector('text=Still reading');
    held.resolve();
    await page.waitForSelector('.figure');
    expect(asked).toBeGreaterThan(0);
    await page.unroute('**/api/metrics/series*');

    // more buckets than are answered, which the page itself never asks for
    await page.route('**/api/metrics/series*', (route) =>
      route.continue({
        url: route
          .request()
          .url()
          .replace(/interval=\w+/, 'interval=nonsense'),
      }),
    );
    await page.click('text=Refresh now');
    const failure = page.locator('.failure').first();
    await eventually(page, async () => expect(await failure.textContent()).toContain('the interval should be'));
    await eventually(page, async () => expect(await failure.locator('code').textContent()).toMatch(/^[0-9a-f]+-/));
    await page.unroute('**/api/metrics/series*');
    await failure.locator('button').click();
    await failure.waitFor({ state: 'detached' });
    await page.context().close();
  });
});
