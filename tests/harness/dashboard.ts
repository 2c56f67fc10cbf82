import { expect } from 'bun:test';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { type HttpResponse, METRIC, post, send } from './client.ts';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

/** The dashboard in a new browser context, with its console errors and requests. */
export interface Dashboard {
  readonly page: Page;
  /** Errors and warnings of the console, and uncaught errors of the page. */
  readonly consoleErrors: string[];
  /** URLs of all requests. */
  readonly requestedUrls: string[];
  /** Navigates to a path and waits until nothing is loading. */
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
  const consoleErrors: string[] = [];
  const requestedUrls: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') consoleErrors.push(message.text());
  });
  page.on('pageerror', (error) => consoleErrors.push(error.message));
  page.on('request', (request) => requestedUrls.push(request.url()));
  await page.goto(`${target.url}/`);
  await page.waitForSelector('input[name=token]');
  return {
    page,
    consoleErrors,
    requestedUrls,
    async visit(path) {
      await page.goto(target.url + path);
      await waitUntilLoaded(page);
    },
  };
}

/** Opens the dashboard signed in. */
export async function signIn(
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
  await waitUntilLoaded(page);
  return dashboard;
}

/** Waits until the page shows content and no query is pending. Read the content with {@link eventually}. */
export async function waitUntilLoaded(page: Page): Promise<void> {
  await page.locator('main :is(.panel, .no-data, .error)').first().waitFor();
  await page.locator('.loading, [aria-busy=true]').first().waitFor({ state: 'detached' });
}

/** How long the page may take to show the expected content, in milliseconds. */
const TIMEOUT_MS = 20_000;

/**
 * Repeats an attempt once per frame until it does not throw.
 *
 * Rendering is asynchronous, so a single read may return stale content. Tests therefore read the page and check it in
 * the same attempt, unless they wait for an event.
 *
 * @returns the result of the first attempt that succeeds
 * @throws the error of the last attempt, after the timeout
 */
export async function eventually<T>(page: Page, attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    // fails during a navigation; the next attempt runs in the new document
    await page.evaluate('new Promise(requestAnimationFrame)').catch(() => undefined);
  }
}

/** Opens the panel of a button and returns it. */
async function openPanel(page: Page, button: string, name: string): Promise<Locator> {
  const panel = page.getByRole('dialog', { name, exact: true });
  if (!(await panel.isVisible())) await page.getByRole('button', { name: button }).click();
  await panel.waitFor();
  return panel;
}

/** Closes the open panel, if there is one. */
export async function closePanel(page: Page): Promise<void> {
  const panel = page.locator('.popover:popover-open');
  if (await panel.count()) await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'hidden' });
}

/** Opens the panel with the range and the comparison. */
export function openRange(page: Page): Promise<Locator> {
  return openPanel(page, 'Range: ', 'Range and comparison');
}

/** Selects a range by its label, such as `Last 30 days`. */
export async function chooseRange(page: Page, label: string): Promise<void> {
  const panel = await openRange(page);
  await panel.locator('.range-names').getByRole('button', { name: label }).click();
  await panel.waitFor({ state: 'hidden' });
}

/** Shows a range entered as wall times, such as `2026-03-01T00:00`. */
export async function enterRange(page: Page, from: string, to: string): Promise<void> {
  const panel = await openRange(page);
  await panel.getByRole('textbox', { name: 'From' }).fill(from);
  await panel.getByRole('textbox', { name: 'To', exact: true }).fill(to);
  await panel.getByRole('button', { name: 'Apply' }).click();
  await panel.waitFor({ state: 'hidden' });
}

/** Selects the period to compare with by its label, such as `Previous period`. */
export async function chooseComparison(page: Page, label: string): Promise<void> {
  const panel = await openRange(page);
  await panel.getByRole('radio', { name: label }).check();
  await closePanel(page);
}

/** Opens the panel with the less frequent controls. */
export function openOptions(page: Page): Promise<Locator> {
  return openPanel(page, 'Options', 'Options');
}

/** Selects the interval of the buckets, such as `1d`. */
export async function chooseInterval(page: Page, interval: string): Promise<void> {
  const panel = await openOptions(page);
  await panel.getByRole('combobox', { name: 'Interval' }).selectOption(interval);
  await closePanel(page);
}

/** Selects a time zone by searching for it. */
export async function chooseZone(page: Page, zone: string): Promise<void> {
  const panel = await openOptions(page);
  await panel.getByRole('combobox', { name: 'Time zone' }).fill(zone);
  await panel
    .getByRole('option', { name: zone.replaceAll('_', ' ') })
    .first()
    .click();
  await closePanel(page);
}

/** Selects how often the page refreshes, in seconds. */
export async function chooseRefresh(page: Page, seconds: number): Promise<void> {
  const panel = await openOptions(page);
  await panel.getByRole('combobox', { name: 'Refresh' }).selectOption(String(seconds));
  await closePanel(page);
}

/** Refreshes the page's data. */
export async function refreshNow(page: Page): Promise<void> {
  const panel = await openOptions(page);
  await panel.getByRole('button', { name: 'Refresh now' }).click();
  await closePanel(page);
}

/** Adds a filter: on `Label` or a property, that `is`, `is not` or `contains` a value. */
export async function addFilter(page: Page, field: string, operator: string, value: string): Promise<void> {
  const panel = await openPanel(page, 'Add filter', 'Add filter');
  const fieldInput = panel.getByRole('combobox', { name: 'Field' });
  if (await fieldInput.count()) await fieldInput.fill(field);
  await panel.getByRole('combobox', { name: 'Operator' }).selectOption({ label: operator });
  await panel.getByRole('combobox', { name: 'Value' }).fill(value);
  await panel.getByRole('button', { name: 'Add' }).click();
  await panel.waitFor({ state: 'hidden' });
}

/** Removes the filter with the given text, such as `Label is free`. */
export async function removeFilter(page: Page, text: string): Promise<void> {
  await page.getByRole('button', { name: `Remove the filter ${text}`, exact: true }).click();
}

/** Opens the menu of the account. */
export function openAccount(page: Page): Promise<Locator> {
  return openPanel(page, 'Account: ', 'Account');
}

/** Selects a theme: `System`, `Light` or `Dark`. */
export async function chooseTheme(page: Page, theme: string): Promise<void> {
  const panel = await openAccount(page);
  await panel.getByRole('radio', { name: theme }).check();
  await closePanel(page);
}

/** Signs out, and waits for the sign-in form. */
export async function signOut(page: Page): Promise<void> {
  const panel = await openAccount(page);
  await panel.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForSelector('input[name=token]');
}

/** Opens all `details` elements, of which there must be at least one, and waits until they are rendered. */
export async function expandDetails(scope: Locator | Page): Promise<void> {
  await scope.locator('details').first().waitFor();
  for (const details of await scope.locator('details').all()) {
    if ((await details.getAttribute('open')) === null) await details.locator('summary').click();
  }
  await scope.locator('details:not(:has(> summary + *))').first().waitFor({ state: 'detached' });
}

/** Returns the bounding box of the first plot, once it is rendered and no longer moves. */
export async function plotOf(page: Page) {
  const over = page.locator('.plot .u-over').first();
  const measure = async () => {
    const box = await over.boundingBox();
    if (!box) throw new Error('No plot on the page');
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

/** Returns the figures by label, with exact values instead of formatted ones. Omits those that are still loading. */
export async function readFigures(scope: Locator | Page): Promise<Record<string, number>> {
  const entries = await scope.locator('.figure').evaluateAll((elements) =>
    elements.flatMap((element) => {
      const value = element.querySelector('data')?.getAttribute('value');
      if (value === undefined) return [];
      return [[element.querySelector('dt')?.textContent ?? '', value === 'null' ? Number.NaN : Number(value)] as const];
    }),
  );
  return Object.fromEntries(entries);
}

/** Returns the rows of a table. A cell is its exact number if it has one, otherwise its text. */
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

/** Types into a combobox, and picks the first choice. */
export async function pickIn(page: Page, name: string, text: string): Promise<void> {
  const combobox = page.getByRole('combobox', { name, exact: true });
  await combobox.click();
  await combobox.fill(text);
  const list = page.getByRole('listbox', { name, exact: true });
  // while choices are loading, the first one can be the typed text
  await list.and(page.locator(':not([aria-busy=true])')).getByRole('option', { name: text }).first().waitFor();
  await page.keyboard.press('Enter');
}

/** Adds a step to the funnel by typing a part of its event type. */
export async function addStep(page: Page, type: string): Promise<void> {
  const isFirst = (await page.getByRole('combobox', { name: 'First step', exact: true }).count()) > 0;
  await pickIn(page, isFirst ? 'First step' : 'Add a step', type);
}

/** Returns the response of a query route, by default as an admin. */
export async function get(
  target: Pick<Target, 'url'>,
  path: string,
  query: Record<string, string | readonly string[]> = {},
  claims: Record<string, unknown> = { sub: 'ada', role: 'admin' },
): Promise<HttpResponse['body']> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) for (const item of [value].flat()) search.append(name, item);
  const headers = { authorization: `Bearer ${await token(claims)}` };
  const response = await send(`${target.url}${path}?${search}`, { headers });
  expect(response.status).toBe(200);
  return response.body;
}

/** Records a metric or an event as the user `ada`, and returns its ID. */
export async function record(target: Target, body: object = METRIC): Promise<string> {
  const path = 'type' in body ? '/log_raw_analytics' : '/log_raw_metric';
  return (await post(target, path, body, { authorization: `Bearer ${await token({ sub: 'ada' })}` })).body;
}
