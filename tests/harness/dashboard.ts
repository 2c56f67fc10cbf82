import { expect } from 'bun:test';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { type HttpResponse, METRIC, post, send } from './client.ts';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

/** The dashboard in a browser of its own, and what it complained of and asked for. */
export interface Dashboard {
  readonly page: Page;
  /** Errors of the console and of the page; none are expected but those that a test takes out. */
  readonly complaints: string[];
  /** The addresses of all requests. */
  readonly requested: string[];
  /** Goes to an address within the dashboard, and waits until nothing is loading there. */
  visit(path: string): Promise<void>;
}

/** Opens the dashboard without a session. */
export async function openDashboard(
  browser: Browser,
  target: Pick<Target, 'url'>,
  options: BrowserContextOptions = {},
): Promise<Dashboard> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  const requested: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requested.push(request.url()));
  await page.goto(`${target.url}/`);
  await page.waitForSelector('input[name=token]');
  return {
    page,
    complaints,
    requested,
    async visit(path) {
      await page.goto(target.url + path);
      await settled(page);
    },
  };
}

/** Opens the dashboard signed in. */
export async function signedIn(
  browser: Browser,
  target: Pick<Target, 'url'>,
  claims: Record<string, unknown> = { sub: 'ada', role: 'admin' },
  options: BrowserContextOptions = {},
): Promise<Dashboard> {
  const dashboard = await openDashboard(browser, target, options);
  const { page } = dashboard;
  await page.fill('input[name=token]', await token(claims));
  await page.press('input[name=token]', 'Enter');
  await page.waitForSelector('header');
  await settled(page);
  return dashboard;
}

/** Resolves once the page shows its content and waits for no answer. What it shows then is read by {@link eventually}. */
export async function settled(page: Page): Promise<void> {
  await page.locator('main :is(.panel, .nothing, .failure)').first().waitFor();
  await page.locator('.loading, [aria-busy=true]').first().waitFor({ state: 'detached' });
}

/** How long the page may take to show what is expected of it, in milliseconds. */
const PATIENCE = 20_000;

/**
 * Reads a page and checks what was read, again at each of its frames until nothing throws.
 *
 * A page is drawn after it was asked for: what a test reads of it once may be from before. So every read of a page
 * that is not of an event stands in here, with what is expected of it.
 *
 * @returns what the attempt that succeeded returns
 * @throws what the last attempt threw
 */
export async function eventually<T>(page: Page, attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    // the page may be leaving its document: the next attempt says what became of it
    await page.evaluate('new Promise(requestAnimationFrame)').catch(() => undefined);
  }
}

/** Opens all that is folded in, which is something at least, and resolves once it is drawn. */
export async function unfold(place: Locator | Page): Promise<void> {
  await place.locator('details').first().waitFor();
  for (const details of await place.locator('details').all()) {
    if ((await details.getAttribute('open')) === null) await details.locator('summary').click();
  }
  await place.locator('details:not(:has(> summary + *))').first().waitFor({ state: 'detached' });
}

/** Where the plot of a chart is on the screen, once it is drawn and stays there. */
export async function plotOf(page: Page) {
  const over = page.locator('.plot .u-over').first();
  const measure = async () => {
    const box = await over.boundingBox();
    if (!box) throw new Error('there is no plot');
    return box;
  };
  const box = await eventually(page, async () => {
    const before = await measure();
    await page.evaluate('new Promise(requestAnimationFrame)');
    const after = await measure();
    expect(after).toEqual(before);
    return after;
  });
  return { ...box, middle: box.y + box.height / 2 };
}

/** The figures of a place, by their names: the numbers themselves, not their short texts. Those to come are left out. */
export async function figures(place: Locator | Page): Promise<Record<string, number>> {
  const found = await place.locator('.figure').evaluateAll((elements) =>
    elements.flatMap((element) => {
      const value = element.querySelector('data')?.getAttribute('value');
      if (value === undefined) return [];
      return [[element.querySelector('dt')?.textContent ?? '', value === 'null' ? Number.NaN : Number(value)] as const];
    }),
  );
  return Object.fromEntries(found);
}

/** The rows of a table: each cell as its number where it has one, otherwise as its text. */
export async function tableRows(table: Locator): Promise<(string | number)[][]> {
  return table.locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) =>
      [...row.querySelectorAll('th, td')].map((cell) => {
        const data = cell.querySelector('data');
        return data ? Number(data.getAttribute('value')) : (cell.textContent ?? '').trim();
      }),
    ),
  );
}

/** What the reading routes answer to an admin, or to whom the claims say. */
export async function get(
  target: Pick<Target, 'url'>,
  path: string,
  query: Record<string, string | readonly string[]> = {},
  claims: Record<string, unknown> = { sub: 'ada', role: 'admin' },
): Promise<HttpResponse['body']> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) for (const one of [value].flat()) search.append(name, one);
  const headers = { authorization: `Bearer ${await token(claims)}` };
  const response = await send(`${target.url}${path}?${search}`, { headers });
  expect(response.status).toBe(200);
  return response.body;
}

/** Records a metric as the user `ada`, and gives its id. */
export async function record(where: Target, body: object = METRIC): Promise<string> {
  const path = 'type' in body ? '/log_raw_analytics' : '/log_raw_metric';
  return (await post(where, path, body, { authorization: `Bearer ${await token({ sub: 'ada' })}` })).body;
}
