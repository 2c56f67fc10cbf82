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

/** Opens the Swagger page. Returns it with its requests and console errors. */
async function openSwagger(): Promise<{ page: Page; requestedUrls: string[]; consoleErrors: string[] }> {
  const page = await browser.newPage();
  const requestedUrls: string[] = [];
  const consoleErrors: string[] = [];
  page.on('request', (request) => requestedUrls.push(request.url()));
  page.on('console', (message) => {
    if (message.type() === 'error') consoleErrors.push(message.text());
  });
  page.on('pageerror', (error) => consoleErrors.push(error.message));
  await page.goto(`${target.url}/swagger`);
  await page.waitForSelector('.opblock-post');
  return { page, requestedUrls, consoleErrors };
}

async function authorize(page: Page, value: string): Promise<void> {
  await page.click('.auth-wrapper .authorize');
  await page.fill('.auth-container input', value);
  await page.click('.auth-container button[type=submit]');
  await page.click('.auth-container .btn-done');
}

/** Executes the example request of a route, and returns the status and body of the response. */
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

test.skipIf(noBrowser !== undefined)(
  'executing both routes with a token shows the IDs of the stored rows',
  async () => {
    const { page, requestedUrls, consoleErrors } = await openSwagger();
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
    expect(consoleErrors).toEqual([]);
    expect(requestedUrls.filter((url) => !url.startsWith(target.url) && !url.startsWith('data:'))).toEqual([]);
    await page.close();
  },
);

test.skipIf(noBrowser !== undefined)('executing a route without a token shows a 401 response', async () => {
  const { page } = await openSwagger();
  const { status, body } = await execute(page, '/log_raw_metric');
  expect(status).toStartWith('401');
  expect(body).toContain('Authorization header is missing');
  await page.close();
});
