import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { signIn } from '../harness/dashboard.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { untilQuiet } from './query-worker.ts';
import { printHeader, printTable } from './report.ts';
import { CARDINALITY, eventType, existingDataSet, fillScale, metricName } from './scale-data.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:dashboard -- [--rows 10000000] [--rounds 5] [--data DIR]
 *
 * Opens views of the dashboard on 360 days of rows, once all chunks are merged, as an admin: the first paint with content, and the time until all
 * figures and charts are there. Each view is loaded again from its URL; the server is warm, the browser's cache is used.
 *
 * --data uses the database of bench:scale in a folder, or keeps a new one there.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    rounds: { type: 'string', default: '5' },
    data: { type: 'string' },
  },
});
const DAY_MS = 86_400_000;

if (noBrowser) throw new Error(noBrowser);
printHeader('Opening the dashboard', 'none');
using temporary = temporaryFolder();
const dataDir = values.data ?? `${temporary.path}/data`;
mkdirSync(dataDir, { recursive: true });
const dataSet = existingDataSet(dataDir) ?? fillScale(dataDir, { rows: Number(values.rows), ...CARDINALITY.usual });
const [target, browser] = await Promise.all([startTarget(UNLIMITED, { dataDir }), startBrowser()]);
process.on('exit', () => target.process.kill()); // if the benchmark fails
const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
await untilQuiet(target, headers);

const { page } = await signIn(browser, target);
const range = (days: number) =>
  `from=${new Date(dataSet.to - days * DAY_MS).toISOString()}&to=${new Date(dataSet.to).toISOString()}&tz=UTC&refresh=0`;
const views: readonly (readonly [name: string, path: string])[] = [
  ['overview, 30 days against the 30 before', `/?compare=previous&${range(30)}`],
  ['overview, 360 days', `/?${range(360)}`],
  ['metric, 30 days against the 30 before', `/?view=metric&name=${metricName(0)}&compare=previous&${range(30)}`],
  ['event, 30 days', `/?view=event&name=${eventType(0)}&${range(30)}`],
  ['funnel of two types, 30 days', `/?view=funnel&step=${eventType(0)}&step=${eventType(1)}&${range(30)}`],
  ['retention by week, 90 days', `/?view=retention&period=week&retention=${eventType(1)}&${range(90)}`],
  ['records', `/?view=records&kind=analytics&${range(30)}`],
];

/** Loads a page. Returns when it first painted content, and when nothing was loading anymore, in milliseconds. */
async function open(path: string): Promise<{ painted: number; complete: number }> {
  await page.goto(target.url + path, { waitUntil: 'commit' });
  await page.locator('main :is(.figure data, .funnel-step data, table data, tbody tr)').first().waitFor();
  await page.locator('main :is(.loading, [aria-busy=true])').first().waitFor({ state: 'detached' });
  // the clock of the page, which starts with the navigation
  return {
    complete: (await page.evaluate('performance.now()')) as number,
    painted: (await page.evaluate(
      `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN`,
    )) as number,
  };
}

const table: string[][] = [['view; median (min to max), ms', 'first contentful paint', 'all figures and charts']];
for (const [name, path] of views) {
  await open(path);
  const rounds: { painted: number; complete: number }[] = [];
  for (let round = 0; round < Number(values.rounds); round++) rounds.push(await open(path));
  const of = (key: 'painted' | 'complete') =>
    spread(
      rounds.map((times) => times[key]),
      0,
    );
  table.push([name, of('painted'), of('complete')]);
}
console.log(`${dataSet.rows} rows, ${dataSet.users} users, Chromium at 1280 × 900`);
printTable(table);
await browser.close();
await target.stop();
