import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import { signIn, signOut, waitUntilLoaded } from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { startTarget } from '../harness/target.ts';

/*
 * Takes screenshots of every view: light and dark, wide and narrow, with no, few and many rows. Review them after
 * changing the dashboard.
 *
 *   npm run screenshots            writes to "screenshots"
 *   npm run screenshots -- docs    updates the two in the README
 */
const PRODUCTS = {
  none: undefined,
  few: { users: 3, days: 3, rowsPerDay: 4 },
  many: { users: 60, days: 40, rowsPerDay: 30 },
};
const VIEWS = {
  overview: '/?range=7d&tz=Europe/Berlin',
  metric: '/?view=metric&name=page_load_time&range=30d&compare=previous&tz=Europe/Berlin',
  labels: '/?view=metric&name=page_load_time&range=7d&interval=6h&split=p95&tz=Europe/Berlin',
  event:
    '/?view=event&name=tutorial_step&range=30d&interval=1d&step=step_1&step=step_2&step=step_3&retention=step_1&tz=Europe/Berlin',
  records: '/?view=records&kind=analytics&range=7d&live=1&tz=Europe/Berlin',
  forbidden: '/?user=another-user&tz=Europe/Berlin',
};
/** Screenshots of the README, with color scheme and height in pixels. */
const OF_README = { overview: ['light', 860], event: ['dark', 1240] } as const;

const onlyReadme = process.argv[2] === 'docs';
const folder = onlyReadme ? 'docs' : 'screenshots';
mkdirSync(folder, { recursive: true });
const browser = await startBrowser();
for (const [amount, product] of Object.entries(PRODUCTS)) {
  if (onlyReadme && amount !== 'many') continue;
  const target = await startTarget();
  if (product) await recordProduct(target, product);
  for (let i = 0; i < 3; i++) await post(target, '/log_raw_metric', { metric_name: '' });
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of onlyReadme ? [1120] : [1280, 390]) {
      const options = { colorScheme, viewport: { width, height: 860 } };
      const claims = { sub: 'ada', role: 'admin' };
      const admin = await signIn(browser, target, claims, options);
      const user = await signIn(browser, target, { sub: 'user-1' }, options);
      for (const [view, path] of Object.entries(VIEWS)) {
        const [scheme, height] = OF_README[view as keyof typeof OF_README] ?? [];
        if (onlyReadme && scheme !== colorScheme) continue;
        const { page, visit } = view === 'forbidden' ? user : admin;
        if (onlyReadme && height) await page.setViewportSize({ width, height });
        await visit(path);
        if (view === 'records' && product) await page.locator('tr button').first().click();
        if (view === 'overview' && !onlyReadme) {
          for (const summary of await page.locator('details.rejected summary').all()) await summary.click();
        }
        await waitUntilLoaded(page);
        const name = onlyReadme ? `dashboard-${view}.png` : `${view}-${amount}-${colorScheme}-${width}.png`;
        await page.screenshot({ path: join(folder, name), fullPage: !onlyReadme });
      }
      const { page } = admin;
      if (!onlyReadme) {
        await signOut(page);
        await page.screenshot({ path: join(folder, `sign-in-${colorScheme}-${width}.png`) });
      }
      await Promise.all([page.context().close(), user.page.context().close()]);
    }
  }
  await target.stop();
}
await browser.close();
console.log(`Screenshots are in ${folder}/`);
