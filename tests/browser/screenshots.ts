import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { openOffline } from '../../src/cli/open-database.ts';
import { generateShop } from '../../src/demo/shop.ts';
import { storeRows } from '../../src/demo/store-rows.ts';
import { startBrowser } from '../harness/browser.ts';
import { post, send } from '../harness/client.ts';
import { closePanel, openOptions, openRange, signIn, signOut, waitUntilLoaded } from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { bearer } from '../harness/seeded-server.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * Takes screenshots of every view: light and dark, in three widths, with no rows, few rows, and three months of a shop. Review
 * them after changing the dashboard.
 *
 *   npm run screenshots              writes to "screenshots"
 *   npm run screenshots -- shop 390  only those with the shop's rows, 390 px wide
 *   npm run screenshots -- docs      updates those of the documentation
 */
const AMOUNTS = ['none', 'few', 'shop'] as const;
const WIDTHS = [1440, 1024, 390];
const SCHEMES = ['light', 'dark'] as const;
const ADMIN = { sub: 'ada', role: 'admin' };

const ZONE = 'tz=Europe/Berlin&week=monday';
const VIEWS: Readonly<Record<string, string>> = {
  overview: `/?range=7d&${ZONE}`,
  event: `/?view=event&name=page_view&range=30d&compare=previous&${ZONE}`,
  'event-by-property': `/?view=event&name=purchase&range=30d&property=data.plan&split=count&${ZONE}`,
  metric: `/?view=metric&name=page_load_time&range=7d&compare=previous&${ZONE}`,
  'metric-by-label': `/?view=metric&name=page_load_time&range=30d&interval=1d&split=p95&${ZONE}`,
  funnel: `/?view=funnel&range=30d&step=page_view&step=signup&step=add_to_cart&step=purchase&${ZONE}`,
  retention: `/?view=retention&range=30d&retention=signup&period=week&${ZONE}`,
  records: `/?view=records&kind=analytics&range=7d&live=1&${ZONE}`,
  boards: `/?view=boards&${ZONE}`,
  health: `/?view=health&range=24h&${ZONE}`,
  'unknown-name': `/?view=event&name=page_veiw&range=7d&${ZONE}`,
};

/** The charts of a board, each with the view that it opens and its query. */
const CHARTS = [
  {
    title: 'Visits by page',
    view: 'view=event&name=page_view&range=30d&split=count',
    query: {
      name: 'counts',
      parameters: { type: 'page_view', interval: '1d', group_by: 'data_index', top: '5' },
      range: { last: '30d', whole: true },
    },
  },
  {
    title: 'Load time',
    view: 'view=metric&name=page_load_time&range=30d',
    query: {
      name: 'series',
      parameters: { name: 'page_load_time', interval: '1d' },
      range: { last: '30d', whole: true },
    },
  },
  {
    title: 'From visit to purchase',
    view: 'view=funnel&range=30d&step=page_view&step=signup&step=purchase',
    query: {
      name: 'funnel',
      parameters: { step: ['page_view', 'signup', 'purchase'], within: '7d' },
      range: { last: '30d', whole: true },
    },
  },
  {
    title: 'Retention after signup',
    view: 'view=retention&range=30d&retention=signup&period=week',
    query: {
      name: 'retention',
      parameters: { step: 'signup', period: 'week', periods: '12' },
      range: { last: '30d', whole: true },
    },
  },
];

/** Screenshots of the documentation: the view, with its color scheme and height in pixels. */
const OF_DOCS: Readonly<Record<string, readonly [scheme: 'light' | 'dark', height: number]>> = {
  overview: ['light', 980],
  funnel: ['dark', 664],
};
const DOCS_WIDTH = 1280;

/** Starts a server with an amount of rows. */
async function startWith(amount: (typeof AMOUNTS)[number], dataDir: string): Promise<Target> {
  if (amount === 'shop') {
    const paths = { databasePath: join(dataDir, 'rawlog.db'), backupDir: join(dataDir, 'backups'), minFreeBytes: 0 };
    using database = await openOffline(paths, { create: true });
    await storeRows(database, generateShop(Date.now()));
  }
  const target = await startTarget(UNLIMITED, { dataDir });
  if (amount === 'few') await recordProduct(target, { users: 3, days: 3, rowsPerDay: 4 });
  if (amount !== 'none') for (let i = 0; i < 3; i++) await post(target, '/log_raw_metric', { metric_name: '' });
  return target;
}

/** Sends a request as an admin, and returns the body of its response. */
async function create(target: Target, path: string, body: object) {
  const headers = { ...(await bearer(ADMIN)), 'content-type': 'application/json' };
  const response = await send(target.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (response.status !== 200) throw new Error(`${path}: ${JSON.stringify(response.body)}`);
  return response.body;
}

async function openRecord(page: Page): Promise<void> {
  const row = page.locator('tr button').first();
  if (await row.count()) await row.click();
}

const [only, ...others] = process.argv.slice(2);
const isDocs = only === 'docs';
const folder = isDocs ? 'docs' : 'screenshots';
mkdirSync(folder, { recursive: true });
const browser = await startBrowser();

/** Takes the screenshots of the documentation. */
async function shootDocs(target: Target): Promise<void> {
  for (const [view, [colorScheme, height]] of Object.entries(OF_DOCS)) {
    const { page, visit } = await signIn(browser, target, ADMIN, {
      colorScheme,
      viewport: { width: DOCS_WIDTH, height },
    });
    await visit(VIEWS[view] ?? '/');
    await page.screenshot({ path: join(folder, `dashboard-${view}.png`) });
    await page.context().close();
  }
}

/** Takes screenshots of all views. */
async function shootAll(target: Target, amount: string, width: number, colorScheme: 'light' | 'dark'): Promise<void> {
  const viewport = { width, height: 900 };
  const shoot = async (page: Page, view: string, fullPage = true) => {
    await page.screenshot({ path: join(folder, `${view}-${amount}-${colorScheme}-${width}.png`), fullPage });
  };
  const { page, visit } = await signIn(browser, target, ADMIN, { colorScheme, viewport });
  const board = await create(target, '/api/boards', { name: 'Product', scope: 'account', charts: CHARTS });
  const link = await create(target, `/api/boards/${board.id}/links`, { expires: '1d' });
  const views: Record<string, string> = { ...VIEWS, board: `/?view=boards&board=${board.id}&${ZONE}` };
  for (const [view, path] of Object.entries(views)) {
    await visit(path);
    if (view === 'records') await openRecord(page);
    await waitUntilLoaded(page);
    await shoot(page, view);
  }
  if (amount !== 'none') {
    await visit(views['metric'] ?? '/');
    await openRange(page);
    await shoot(page, 'range', false);
    await closePanel(page);
    await openOptions(page);
    await shoot(page, 'options', false);
    await closePanel(page);
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await shoot(page, 'shortcuts', false);
    await page.keyboard.press('Escape');
  }
  await page.goto(target.url + link.path);
  await waitUntilLoaded(page);
  await shoot(page, 'shared-board');
  await visit('/');
  await signOut(page);
  await shoot(page, 'sign-in', false);
  await page.context().close();
  const user = await signIn(browser, target, { sub: 'user-1' }, { colorScheme, viewport });
  await user.visit(`/?user=another-user&${ZONE}`);
  await shoot(user.page, 'forbidden');
  await user.page.context().close();
}

for (const amount of AMOUNTS) {
  if (isDocs ? amount !== 'shop' : only !== undefined && only !== amount) continue;
  using data = temporaryFolder();
  const target = await startWith(amount, data.path);
  if (isDocs) await shootDocs(target);
  for (const colorScheme of isDocs ? [] : SCHEMES) {
    for (const width of WIDTHS) {
      if (others.length === 0 || others.includes(String(width))) await shootAll(target, amount, width, colorScheme);
    }
  }
  await target.stop();
}
await browser.close();
console.log(`Screenshots are in ${folder}/`);
