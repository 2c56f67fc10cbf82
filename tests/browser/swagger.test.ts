import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { rows } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

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

/** Opens the Swagger page; gives all that the page asked for and all that it complained of. */
async function openSwagger(): Promise<{ page: Page; requested: string[]; complaints: string[] }> {
  const page = await browser.newPage();
  const requested: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => requested.push(request.url()));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${target.url}/swagger`);
  await page.waitForSelector('.opblock-post');
  return { page, requested, complaints };
}

async function authorize(page: Page, value: string): Promise<void> {
  await page.click('.auth-wrapper .authorize');
  await page.fill('.auth-container input', value);
  await page.click('.auth-container button[type=submit]');
  await page.click('.auth-container .btn-done');
}

/** Opens a route, sends its example, and reads status and body of the answer. */
async function execute(page: Page, path: string): Promise<{ status: string; body: string }> {
  const block = page.locator('.opblock-post', { has: page.locator(`[data-path="${path}"]`) });
  await block.locator('.opblock-summary-control').click();
  await block.locator('button.execute').click();
  const response = block.locator('.live-responses-table .response');
  await response.waitFor();
  return {
    status: (await response.locator('.response-col_status').textContent())?.trim() ?? '',
    body: (await response.locator('.response-col_description code').first().textContent()) ?? '',
  };
}

test.skipIf(noBrowser !== undefined)('authorize, execute both routes, see the ids of the stored rows', async () => {
  const { page, requested, complaints } = await openSwagger();
  await authorize(page, await token({ sub: 'swagger-user' }));
  for (const [path, table] of [
    ['/log_raw_metric', 'metrics'],
    ['/log_raw_analytics', 'analytics'],
  ] as const) {
    const { status, body } = await execute(page, path);
    expect(status).toStartWith('200');
    const [row] = rows(target, table);
    expect(body.trim()).toBe(`"${row?.['id']}"`);
    expect(row?.['user_id']).toBe('swagger-user');
  }
  expect(complaints).toEqual([]);
  expect(requested.filter((url) => !url.startsWith(target.url) && !url.startsWith('data:'))).toEqual([]);
  await page.close();
});

test.skipIf(noBrowser !== undefined)('without a token the response is 401, in words', async () => {
  const { page } = await openSwagger();
  const { status, body } = await execute(page, '/log_raw_metric');
  expect(status).toStartWith('401');
  expect(body).toContain('Authorization header is missing');
  await page.close();
});
