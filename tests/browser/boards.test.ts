import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { DEFAULTS } from '../../src/dashboard/page/address.ts';
import { findViolations } from '../harness/accessibility.ts';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post, send } from '../harness/client.ts';
import { eventually, get, readFigures, signIn, waitUntilLoaded } from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let browser: Browser;
/** A page of another server, which may embed boards. */
let frame: { url: string; stop(): void };
beforeAll(async () => {
  if (noBrowser) return;
  let embedded = '';
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request) => {
      embedded = new URL(request.url).searchParams.get('src') ?? embedded;
      return new Response(
        `<!doctype html><title>Intranet</title><iframe src="${embedded}" width="800" height="700"></iframe>`,
        {
          headers: { 'content-type': 'text/html' },
        },
      );
    },
  });
  frame = { url: `http://127.0.0.1:${server.port}`, stop: () => void server.stop(true) };
  target = await startTarget({ ...UNLIMITED, JWT_VIEWER_ROLES: 'viewer', EMBED_ORIGINS: frame.url });
  browser = await startBrowser();
  await recordProduct(target, { users: 6, days: 6, rowsPerDay: 8 });
});
afterAll(async () => {
  frame?.stop();
  await browser?.close();
  await target?.stop();
});

const METRIC_VIEW = '/?view=metric&name=page_load_time&range=7d&tz=Europe/Berlin';

/** Sends a request as a user, and returns the body of its response. */
async function call(method: string, path: string, body?: unknown, claims: object = { sub: 'ada', role: 'admin' }) {
  const response = await send(target.url + path, {
    method,
    headers: { authorization: `Bearer ${await token({ ...claims })}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  expect([path, response.status]).toEqual([path, 200]);
  return response.body;
}

const chart = (title: string, parameters: object = {}, view = 'view=event&name=page_view&range=7d') => ({
  ...{ title, view },
  query: {
    name: 'counts',
    parameters: { type: 'page_view', interval: '1d', ...parameters },
    range: { last: '7d', whole: true },
  },
});

/** Creates a board and returns its ID. */
async function createBoard(name: string, charts: readonly object[], scope = 'account'): Promise<string> {
  return (await call('POST', '/api/boards', { name, scope, charts })).id;
}

const titlesOf = (page: Page) => page.locator('.board-grid h2').allTextContents();
const storedTitles = async (id: string) =>
  (await get(target, `/api/boards/${id}`)).charts.map(({ title }: { title: string }) => title);

describe.skipIf(noBrowser !== undefined)('boards', () => {
  test('the chart of a view is pinned to a new board, and then to the same one, with the figures of the view', async () => {
    const { page, visit, consoleErrors } = await signIn(browser, target);
    await visit('/?view=boards');
    await page.getByText('No boards yet').waitFor();
    await visit(METRIC_VIEW);
    const { 'Median (p50)': median } = await readFigures(page);
    await page.getByRole('button', { name: 'Pin to board' }).click();
    await page.getByLabel('New board').fill('Speed');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('Pinned to Speed').waitFor();
    await visit('/?view=event&name=page_view&range=7d&compare=previous&tz=Europe/Berlin');
    const events = await readFigures(page);
    await page.getByRole('button', { name: 'Pin to board' }).click();
    await page.getByRole('textbox', { name: 'Title' }).fill('Views <b>of</b> pages');
    await page.locator('.pin-boards').getByRole('button', { name: 'Speed' }).click();
    await page.locator('.pin-panel').getByRole('link', { name: 'Speed' }).click();
    await eventually(page, async () => {
      expect(await titlesOf(page)).toEqual(['page_load_time: median', 'Views <b>of</b> pages']);
      expect(await readFigures(page)).toEqual({ 'Median (p50)': median as number, ...events });
    });
    expect(await page.locator('.card-head small').allTextContents()).toEqual([
      'Last 7 days',
      'Last 7 days vs previous',
    ]);
    // the title opens the view that was pinned
    await page.getByRole('link', { name: 'page_load_time: median' }).click();
    await eventually(page, async () =>
      expect(await readFigures(page)).toMatchObject({ 'Median (p50)': median as number }),
    );
    expect(new URL(page.url()).searchParams.get('range') ?? DEFAULTS.range).toBe('7d');
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('funnels and retention are pinned with their steps', async () => {
    const id = await createBoard('Journeys', []);
    const { page, visit } = await signIn(browser, target);
    for (const path of [
      '/?view=funnel&range=7d&step=page_view&step=tutorial_step%3Astep_1',
      '/?view=retention&range=7d&retention=tutorial_step%3Astep_1',
    ]) {
      await visit(path);
      await page.getByRole('button', { name: 'Pin to board' }).click();
      await page.locator('.pin-boards').getByRole('button', { name: 'Journeys' }).click();
      await page.getByText('Pinned to Journeys').waitFor();
    }
    await visit(`/?view=boards&board=${id}`);
    const funnel = await get(target, `/api/boards/${id}/charts/0`);
    await eventually(page, async () => {
      expect(await titlesOf(page)).toEqual([
        'page_view → tutorial_step: step_1',
        'Retention after tutorial_step: step_1',
      ]);
      const users = await page
        .locator('.board-grid > li:first-child td:nth-child(2) data')
        .evaluateAll((cells) => cells.map((cell) => Number(cell.getAttribute('value'))));
      expect(users).toEqual(funnel.result.steps.map((step: { users: number }) => step.users));
    });
    await page.context().close();
  });

  test('charts are reordered with the keyboard and by dragging, renamed and removed', async () => {
    const id = await createBoard('Order', [
      chart('A'),
      chart('B', { interval: '12h' }),
      chart('C', { interval: '6h' }),
    ]);
    const { page, visit, consoleErrors } = await signIn(browser, target);
    await visit(`/?view=boards&board=${id}`);
    const shows = (titles: string[]) =>
      eventually(page, async () => {
        expect(await titlesOf(page)).toEqual(titles);
        expect(await storedTitles(id)).toEqual(titles);
      });
    await shows(['A', 'B', 'C']);
    await page.getByRole('button', { name: 'Move A' }).focus();
    await page.keyboard.press('ArrowRight');
    await shows(['B', 'A', 'C']);
    await eventually(page, async () => {
      expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe('Move A');
    });
    await page.keyboard.press('ArrowRight');
    await shows(['B', 'C', 'A']);
    await page.keyboard.press('ArrowRight'); // it is the last one
    await page.keyboard.press('ArrowLeft');
    await shows(['B', 'A', 'C']);
    await page.getByRole('button', { name: 'Move C' }).dragTo(page.locator('.board-grid > li').first());
    await shows(['C', 'B', 'A']);

    await page.getByRole('button', { name: 'Edit B' }).click();
    await page.getByRole('textbox', { name: 'Title' }).fill('Second');
    await page.keyboard.press('Enter');
    await shows(['C', 'Second', 'A']);
    await page.getByRole('button', { name: 'Edit C' }).click();
    await page.getByRole('button', { name: 'Remove from board' }).click();
    await shows(['Second', 'A']);
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('a whole board is shown in another range, with the figures of the views', async () => {
    const step = ['page_view', 'tutorial_step'];
    const funnel = {
      title: 'Journey',
      view: 'view=funnel&range=1h&step=page_view&step=tutorial_step',
      query: { name: 'funnel', parameters: { step, tz: 'Europe/Berlin' }, range: { last: '1h' } },
    };
    const views = chart('Views', { tz: 'Europe/Berlin' });
    const compared = { ...views, query: { ...views.query, compare: 'previous' } };
    const id = await createBoard('Ranges', [compared, funnel]);
    const { page, visit, consoleErrors } = await signIn(browser, target);
    await visit(`/?view=boards&board=${id}&tz=UTC`);
    const week = (await get(target, `/api/boards/${id}/charts/0`)).result;
    const showsEvents = async ({ count, unique_users }: Record<string, number>) =>
      eventually(page, async () =>
        expect(await readFigures(page)).toMatchObject({
          Events: count as number,
          'Unique users': unique_users as number,
        }),
      );
    await showsEvents(week);
    await page.getByRole('combobox', { name: 'Range' }).selectOption('Yesterday');
    const today = new Date().setUTCHours(0, 0, 0, 0);
    const [before, from, to] = [2, 1, 0].map((days) => new Date(today - days * 86_400_000).toISOString());
    const yesterday = await get(target, '/api/analytics/counts', { type: 'page_view', from: from ?? '', to: to ?? '' });
    expect(yesterday.count).toBeLessThan(week.count);
    await showsEvents(yesterday);
    const earlier = await get(target, '/api/analytics/counts', {
      type: 'page_view',
      from: before ?? '',
      to: from ?? '',
    });
    await eventually(page, async () =>
      expect(await page.locator('.figure .before').first().textContent()).toBe(`previously ${earlier.count}`),
    );
    expect(await page.locator('.card-head small').allTextContents()).toEqual(['Yesterday vs previous', 'Yesterday']);
    await page.reload();
    await page.getByRole('combobox', { name: 'Range' }).selectOption('All time');
    await showsEvents(await get(target, '/api/analytics/counts', { type: 'page_view' }));
    const { steps } = await get(target, '/api/analytics/funnel', { step });
    await eventually(page, async () => {
      const users = await page
        .locator('.board-grid > li:last-child td:nth-child(2) data')
        .evaluateAll((cells) => cells.map((cell) => Number(cell.getAttribute('value'))));
      expect(users).toEqual(steps.map(({ users: count }: { users: number }) => count));
    });
    expect(await page.getByRole('link', { name: 'Journey' }).getAttribute('href')).toContain('range=all');
    // what is stored stays
    expect((await get(target, `/api/boards/${id}`)).charts[1].query.range).toEqual({ last: '1h' });
    await page.getByRole('combobox', { name: 'Range' }).selectOption('As pinned');
    await showsEvents(week);
    expect(consoleErrors).toEqual([]);
    await page.context().close();
  });

  test('a board is created, renamed, given to everyone and deleted', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=boards');
    await page.getByRole('button', { name: 'New board' }).click();
    await page.getByLabel('Name').fill('Draft');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Draft' }).waitFor();
    const id = new URL(page.url()).searchParams.get('board');
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    await page.getByLabel('Name').fill('Weekly');
    await page.getByRole('button', { name: 'Rename' }).click();
    await page.getByRole('heading', { name: 'Weekly' }).waitFor();
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    await page.getByRole('radio', { name: 'Everyone' }).click();
    await eventually(page, async () => expect((await get(target, `/api/boards/${id}`)).scope).toBe('everyone'));

    const user = await signIn(browser, target, { sub: 'user-1' });
    await user.visit(`/?view=boards&board=${id}`);
    await user.page.getByRole('heading', { name: 'Weekly' }).waitFor();
    expect(await user.page.getByRole('button', { name: 'Edit', exact: true }).count()).toBe(0);
    expect(await user.page.locator('.grip').count()).toBe(0);
    await user.page.context().close();

    await page.getByRole('button', { name: 'Delete board…' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('heading', { name: 'Boards' }).first().waitFor();
    await eventually(page, async () => {
      expect((await get(target, '/api/boards')).boards.map((board: { id: string }) => board.id)).not.toContain(id);
    });
    await visit(`/?view=boards&board=${id}`);
    await page.getByText('This board does not exist').waitFor();
    await page.context().close();
  });

  test('a shared link shows the board without an account, until it is revoked', async () => {
    const id = await createBoard('Shared <i>board</i>', [
      chart('Views', {}, 'view=event&name=page_view&range=7d&user=user-1'),
    ]);
    const { page, visit } = await signIn(browser, target);
    await visit(`/?view=boards&board=${id}`);
    await page.getByRole('button', { name: 'Share' }).click();
    await page.getByLabel('Expires after').selectOption('7 days');
    await page.getByRole('button', { name: 'Create link' }).click();
    const link = await page.getByRole('textbox', { name: 'Link' }).inputValue();
    expect(link).toStartWith(`${target.url}/share#`);
    const { links } = await get(target, '/api/links', { board_id: id });
    expect(Math.round((Date.parse(links[0].expires_at) - Date.now()) / 86_400_000)).toBe(7);

    const guest = await browser.newContext({ viewport: { width: 390, height: 800 } });
    const shared = await guest.newPage();
    const requests: string[] = [];
    const errors: string[] = [];
    shared.on('request', (request) => requests.push(request.url()));
    shared.on('pageerror', (error) => errors.push(error.message));
    shared.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await shared.goto(link);
    const { result } = await get(target, `/api/boards/${id}/charts/0`);
    await eventually(shared, async () => {
      expect(await shared.getByRole('heading', { level: 1 }).textContent()).toBe('Shared <i>board</i>');
      expect(await readFigures(shared)).toEqual({ Events: result.count, 'Unique users': result.unique_users });
      expect(await shared.locator('.uplot').count()).toBe(1);
    });
    expect(
      await shared.locator('button, a, input').evaluateAll((all) => all.map((element) => element.outerHTML)),
    ).toEqual([]);
    expect(await findViolations(shared)).toEqual([]);
    expect(await shared.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    expect(await shared.evaluate('sessionStorage.length + localStorage.length + document.cookie.length')).toBe(0);
    const value = link.split('#')[1] ?? '';
    expect(requests.filter((url) => url.includes(value) && !url.includes('#'))).toEqual([]);
    expect(requests.every((url) => url.startsWith(target.url))).toBe(true);
    expect(errors).toEqual([]);

    await page.locator('.links').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('Active links').waitFor({ state: 'detached' });
    await shared.reload();
    await shared.getByText('This link does not work').waitFor();
    expect(await findViolations(shared)).toEqual([]);
    await guest.close();
    await page.context().close();
  });

  test('a page of EMBED_ORIGINS shows the board in a frame, and no page shows the dashboard', async () => {
    const id = await createBoard('Embedded', [chart('Views')]);
    const { value } = await call('POST', `/api/boards/${id}/links`, {});
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${frame.url}/?src=${encodeURIComponent(`${target.url}/embed#${value}`)}`);
    const inner = page.frameLocator('iframe');
    await inner.getByRole('heading', { name: 'Embedded' }).waitFor();
    await inner.locator('.uplot').waitFor();
    // the link is only in memory
    expect(page.frames()[1]?.url()).toBe(`${target.url}/embed`);
    for (const path of ['/', `/share#${value}`]) {
      await page.goto(`${frame.url}/?src=${encodeURIComponent(target.url + path)}`);
      await eventually(page, async () => expect(page.frames()[1]?.url()).toStartWith('chrome-error://'));
    }
    await context.close();
  });
});

describe.skipIf(noBrowser !== undefined)('annotations and units', () => {
  test('an admin annotates the charts, and everyone who sees all rows sees it', async () => {
    const { page, visit } = await signIn(browser, target);
    await visit(METRIC_VIEW);
    await page.getByRole('button', { name: 'Annotations' }).click();
    await page.getByLabel('What happened').fill('deploy <b>2.4.0</b>');
    await page.getByLabel('When').fill(new Date(Date.now() - 2 * 86_400_000).toISOString().slice(0, 16));
    await page.getByLabel('Link (optional)').fill('https://example.com/2.4.0');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('link', { name: 'deploy <b>2.4.0</b>' }).waitFor();
    const { annotations } = await get(target, '/api/annotations');
    expect(annotations).toMatchObject([
      { text: 'deploy <b>2.4.0</b>', url: 'https://example.com/2.4.0', author: 'ada' },
    ]);
    await page.keyboard.press('Escape');

    const viewer = await signIn(browser, target, { sub: 'vera', role: 'viewer' });
    await viewer.visit(METRIC_VIEW);
    await viewer.page.locator('.chart summary').first().click();
    await viewer.page.locator('.chart table').getByText('deploy <b>2.4.0</b>').first().waitFor();
    await viewer.page.getByRole('button', { name: 'Annotations' }).click();
    await viewer.page.getByRole('link', { name: 'deploy <b>2.4.0</b>' }).waitFor();
    expect(await viewer.page.getByLabel('What happened').count()).toBe(0);
    await viewer.page.context().close();

    await page.getByRole('button', { name: 'Annotations' }).click();
    await page.getByRole('button', { name: 'Delete deploy <b>2.4.0</b>' }).click();
    await page.getByText('No annotations in this range').waitFor();
    await page.context().close();
  });

  test('an admin sets the unit of a metric, and the figures follow it', async () => {
    await post(target, '/log_raw_metric', { metric_name: 'weight', metric_value: 2, data_string: 'x' });
    const { page, visit } = await signIn(browser, target);
    await visit('/?view=metric&name=weight&range=24h');
    await page.getByRole('button', { name: 'Unit', exact: true }).click();
    await page.getByLabel('Unit of the values').fill('kg');
    await page.getByRole('radio', { name: 'Lower' }).check();
    await page.getByRole('button', { name: 'Save' }).click();
    await eventually(page, async () => {
      expect(await page.locator('.figure', { hasText: 'Max' }).locator('data').textContent()).toBe('2 kg');
    });
    expect((await get(target, '/api/units')).units).toEqual([{ name: 'weight', unit: 'kg', better: 'lower' }]);
    await page.getByRole('button', { name: 'Unit', exact: true }).click();
    await page.getByRole('button', { name: 'Guess from the name' }).click();
    await eventually(page, async () => {
      expect(await page.locator('.figure', { hasText: 'Max' }).locator('data').textContent()).toBe('2');
    });
    const viewer = await signIn(browser, target, { sub: 'vera', role: 'viewer' });
    await viewer.visit('/?view=metric&name=weight&range=24h');
    expect(await viewer.page.getByRole('button', { name: 'Unit', exact: true }).count()).toBe(0);
    await viewer.page.context().close();
    await page.context().close();
  });
});

test.skipIf(noBrowser !== undefined)(
  'boards, their dialogs and panels pass axe and fit a phone, in both themes',
  async () => {
    const id = await createBoard('Everything', [
      chart('Views'),
      chart('By page', { group_by: 'data_index', top: '5' }, 'view=event&name=page_view&range=7d&split=count'),
    ]);
    for (const [colorScheme, width] of [
      ['light', 390],
      ['dark', 1280],
    ] as const) {
      const { page, visit } = await signIn(
        browser,
        target,
        { sub: 'ada', role: 'admin' },
        {
          ...{ colorScheme, viewport: { width, height: 900 } },
        },
      );
      const check = async (part?: string) => {
        expect(await findViolations(page, part)).toEqual([]);
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
      };
      await visit('/?view=boards');
      await check();
      await visit(`/?view=boards&board=${id}`);
      await page.locator('.uplot').nth(1).waitFor();
      await waitUntilLoaded(page);
      await check();
      await page.getByRole('button', { name: 'Edit Views' }).click();
      await check();
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Share' }).click();
      await page.getByRole('button', { name: 'Create link' }).click();
      await page.getByRole('textbox', { name: 'Link' }).waitFor();
      await check();
      await visit(METRIC_VIEW);
      for (const name of ['Pin to board', 'Annotations', 'Unit']) {
        await page.getByRole('button', { name, exact: true }).click();
        await page.locator('.popover:popover-open :is(input, p)').first().waitFor();
        // not what is behind the panel, which it may cover in part
        await check('.popover:popover-open');
        await page.keyboard.press('Escape');
      }
      await page.context().close();
    }
  },
);
