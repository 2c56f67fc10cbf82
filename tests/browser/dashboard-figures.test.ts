import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { Browser, Locator, Response } from 'playwright-core';
import { SEQ_EPOCH } from '../../src/storage/record-id.ts';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post, send } from '../harness/client.ts';
import {
  addStep,
  type Dashboard,
  eventually,
  expandDetails,
  get,
  openOptions,
  pickIn,
  plotOf,
  readFigures,
  signIn,
  tableRows,
} from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { idOf } from '../storage/log.ts';

const ZONE = 'America/New_York';
const USER = { sub: 'user-2' };

const folder = temporaryFolder();
let target: Target;
let browser: Browser;
let admin: Dashboard;
let user: Dashboard;
/** A fixed range, so the page and the test query the same rows. */
let range: { from: string; to: string };

beforeAll(async () => {
  if (noBrowser) return;
  const dataDir = join(folder.path, 'data');
  await importOldRow(dataDir);
  const env = { ...UNLIMITED, BACKUP_DIR: join(folder.path, 'backups') };
  [target, browser] = await Promise.all([startTarget(env, { dataDir }), startBrowser()]);
  await recordProduct(target, { users: 12, days: 12, rowsPerDay: 12 });
  const now = Date.now();
  range = { from: new Date(now - 9 * 86_400_000).toISOString(), to: new Date(now).toISOString() };
  [admin, user] = await Promise.all([signIn(browser, target), signIn(browser, target, USER)]);
});
afterAll(async () => {
  expect([...(admin?.consoleErrors ?? []), ...(user?.consoleErrors ?? [])]).toEqual([]);
  await browser?.close();
  await target?.stop();
  folder[Symbol.dispose]();
});

/** Imports a row that was received two days ago, so that the growth of the database is known. */
async function importOldRow(dataDir: string): Promise<void> {
  const at = Date.now() - 2 * 86_400_000;
  const time = new Date(at).toISOString();
  const record = {
    ...{ id: idOf((at - SEQ_EPOCH) * 4096), user_id: 'earlier', timestamp: time, received_at: time },
    ...{ metric_name: 'earlier', metric_value: 1, data_string: '' },
  };
  const env = { ...UNLIMITED, DATA_DIR: dataDir };
  expect((await runCli(['import', '-'], { env, stdin: JSON.stringify(record) })).stderr).toBe('');
}

const fixed = (view: string, parameters: Record<string, string> = {}) =>
  `/?${new URLSearchParams({ view, ...range, tz: ZONE, refresh: '0', ...parameters })}`;

/** Statistics of a metric with their names on the page. */
const TITLES = {
  count: 'Count',
  sum: 'Sum',
  avg: 'Average',
  p50: 'Median (p50)',
  p95: 'p95',
  p99: 'p99',
  min: 'Min',
  max: 'Max',
} as const;
const STATISTICS = Object.keys(TITLES) as (keyof typeof TITLES)[];

/** Returns the columns of a table by their heading. A cell is its exact number if it has one, otherwise its text. */
async function columnsOf(table: Locator): Promise<Record<string, (string | number)[]>> {
  const headings = await table.locator('thead th').allTextContents();
  const rows = await tableRows(table);
  return Object.fromEntries(headings.map((heading, i) => [heading, rows.map((row) => row[i] ?? '')]));
}

/** Returns the tooltip of a chart: its title, its exact figures by line, and its other lines. */
async function readTooltip(page: Dashboard['page']) {
  return page.locator('.tooltip').evaluate((tooltip) => ({
    title: tooltip.querySelector('b')?.textContent ?? '',
    figures: Object.fromEntries(
      [...tooltip.querySelectorAll('tr')].map((row) => [
        row.querySelector('.name')?.textContent ?? '',
        [...row.querySelectorAll('data')].map((data) => {
          const value = data.getAttribute('value');
          return value === 'null' ? null : Number(value);
        }),
      ]),
    ),
    others: [...tooltip.querySelectorAll('p')].map((line) => line.textContent ?? ''),
  }));
}

describe.skipIf(noBrowser !== undefined)('figures of the dashboard', () => {
  test('the health view shows the rows, ledger and queue of the query routes', async () => {
    const { page } = admin;
    await admin.visit(fixed('health', { interval: '6h' }));
    const activity = await get(target, '/api/activity', { ...range, interval: '6h', tz: ZONE, top: '8' });
    const panel = page.locator('section', { has: page.locator('#activity') });
    await eventually(page, async () =>
      expect((await readFigures(panel))['Rows in this range']).toBe(activity.metrics.count + activity.analytics.count),
    );
    expect(activity.metrics.count).toBeGreaterThan(100);

    await expandDetails(panel);
    const rows = await eventually(page, async () => {
      const tableContent = await tableRows(panel.locator('table'));
      expect(tableContent).toHaveLength(activity.starts.length);
      return tableContent;
    });
    // a clipped bucket has fewer minutes
    const edges = [range.from, ...activity.starts.slice(1), range.to].map((text) => Date.parse(text));
    const minutes = (i: number) => ((edges[i + 1] as number) - (edges[i] as number)) / 60_000;
    rows.forEach(([, metrics, events], i) => {
      expect(Number(metrics) * minutes(i)).toBeCloseTo(activity.metrics.counts[i], 6);
      expect(Number(events) * minutes(i)).toBeCloseTo(activity.analytics.counts[i], 6);
    });

    const { ledger, queue } = await get(target, '/api/status');
    await eventually(page, async () => {
      expect(await readFigures(page)).toMatchObject({
        Received: ledger.received,
        Stored: ledger.stored,
        Duplicates: ledger.duplicates,
        'Rows queued': queue.rows,
      });
    });
    await eventually(page, async () => expect(await page.textContent('main')).toContain('after fsync'));
  });

  test('the storage and the backups are those of the status', async () => {
    const { page } = admin;
    let status = await get(target, '/api/status');
    const readStatus = async (response: Response) => {
      if (new URL(response.url()).pathname !== '/api/status') return;
      status = await response.json().catch(() => status); // the browser drops the responses of a page that it leaves
    };
    page.on('response', readStatus);
    await eventually(page, async () => {
      await admin.visit(fixed('health'));
      expect(status.storage.forecast).not.toBeNull(); // null while the query worker is busy
      expect(status.backup.age_seconds).not.toBeNull();
    });
    page.off('response', readStatus);
    const { storage, backup } = status;
    await eventually(page, async () =>
      expect(await readFigures(page)).toMatchObject({
        Rows: storage.use.rows_bytes,
        Columns: storage.use.columns_bytes,
        'Free pages': storage.use.free_pages_bytes,
        'Write-ahead log': storage.wal_bytes,
        'Disk space free': storage.free_bytes,
        'Disk full': storage.forecast.full_in_seconds ?? Number.NaN,
        'Newest backup': backup.age_seconds,
        'Next backup': Date.parse(backup.next_at),
      }),
    );
    const rate = /^At the last 2 days' rate \(.* per day\), the disk will (be full in about|not be full) [\w\d,. ]+\.$/;
    expect(await page.textContent('#forecast')).toMatch(rate);
    expect(await page.textContent('section:has(#backups)')).toMatch(/ ago.*in (24|1) \w+.*every day/);
  });

  test('the count of an error code opens its rejections', async () => {
    const rejectedResponse = await post(target, '/log_raw_metric', { metric_name: '', metric_value: 1 }, {});
    expect(rejectedResponse.status).toBe(422);
    const { page } = admin;
    await admin.visit(fixed('health'));
    const rejected = page.locator('details.rejected', { hasText: 'validation_failed' });
    const { ledger } = await get(target, '/api/status');
    await eventually(page, async () =>
      expect(await rejected.locator('summary data').getAttribute('value')).toBe(
        String(ledger.rejected.validation_failed),
      ),
    );
    await rejected.locator('summary').click();
    const row = rejected.locator('li', { hasText: rejectedResponse.body.request_id });
    await row.waitFor();
    for (const { loc, msg } of rejectedResponse.body.detail)
      await eventually(page, async () => expect(await row.textContent()).toContain(`${loc.join('.')} ${msg}`));
    expect(rejectedResponse.body.detail).toHaveLength(2);
  });

  test('each issue of a rejected request has its own line', async () => {
    const tooLarge = await post(target, '/log_raw_metric', { metric_name: 'x'.repeat(2_000_000) }, {});
    expect(tooLarge.status).toBe(413);
    const invalid = await post(target, '/log_raw_metric', { metric_name: '', metric_value: 1 }, {});
    const { page } = admin;
    await admin.visit(fixed('health'));
    await expandDetails(page.locator('section', { has: page.locator('#ledger') }));
    const linesOf = async ({ body }: typeof invalid) =>
      (await page.locator('.reasons li', { hasText: body.request_id }).innerText()).split(/\n+/);
    const details = expect.stringMatching(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d · .* · \/log_raw_metric · 1 item · request /,
    );
    await eventually(page, async () => expect(await linesOf(tooLarge)).toEqual([tooLarge.body.message, details]));
    await eventually(page, async () =>
      expect(await linesOf(invalid)).toEqual([
        ...invalid.body.detail.map(({ loc, msg }: { loc: string[]; msg: string }) => `${loc.join('.')} ${msg}`),
        details,
      ]),
    );
  });

  test('totals cover exactly the range, whatever the interval', async () => {
    const now = Date.now();
    const at = (hoursAgo: number) => new Date(now - hoursAgo * 3_600_000).toISOString();
    // rows in the last 24 hours, in the previous period, and before; now is noon, so each day is partly in the range
    const times = [49, 47, 25, 23, 12, 1].map(at);
    const metrics = times.map((timestamp, i) => ({
      metric_name: 'edges',
      metric_value: 2 ** i,
      data_string: 'x',
      timestamp,
    }));
    const analytics = times.map((timestamp) => ({ type: 'edges', data: {}, data_index: 'x', timestamp }));
    const authorization = `Bearer ${await token({ sub: 'edges' })}`;
    expect((await post(target, '/log_batch', { metrics, analytics }, { authorization })).status).toBe(200);
    const hours = 12 - new Date(now).getUTCHours();
    // these names have POSIX signs: Etc/GMT-5 is five hours ahead of UTC
    const tz = hours === 0 ? 'Etc/GMT' : `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`;
    const { page, visit } = await signIn(browser, target, { sub: 'edges' });
    for (const interval of ['auto', '1m', '1h', '3h', '1d', '1w']) {
      const parameters = { range: '24h', interval, tz, refresh: '0', compare: 'previous' };
      await visit(`/?${new URLSearchParams({ ...parameters, view: 'event', name: 'edges' })}`);
      await eventually(page, async () =>
        expect({ interval, ...(await readFigures(page)) }).toMatchObject({ interval, Events: 3 }),
      );
      const before = page.locator('.figure', { hasText: 'Events' }).locator('small');
      await eventually(page, async () => expect(await before.textContent()).toContain('previously 2'));
      await visit(`/?${new URLSearchParams({ ...parameters, view: 'metric', name: 'edges' })}`);
      await eventually(page, async () =>
        expect({ interval, ...(await readFigures(page)) }).toMatchObject({
          interval,
          Count: 3,
          Min: 8,
          Max: 32,
          Average: 56 / 3,
        }),
      );
      await visit(`/?${new URLSearchParams({ ...parameters, view: 'health' })}`);
      await eventually(page, async () => expect((await readFigures(page))['Rows in this range']).toBe(6));
    }
    await page.context().close();
  });

  test('a user sees their own rejections, but neither ledger nor storage', async () => {
    const rejectedResponse = await post(
      target,
      '/log_raw_metric',
      { metric_name: '' },
      {
        authorization: `Bearer ${await token(USER)}`,
      },
    );
    const { page } = user;
    await user.visit(fixed('health'));
    await page.locator('.reasons li', { hasText: rejectedResponse.body.request_id }).waitFor();
    await page.waitForSelector('main :text("after fsync")');
    await eventually(page, async () => expect(Object.keys(await readFigures(page))).toHaveLength(3));
    for (const name of ['Received', 'Disk space free', 'disk will be full', 'Backups']) {
      expect(await page.textContent('main')).not.toContain(name);
    }
    await eventually(page, async () => expect(await page.locator('.error').count()).toBe(0));
  });

  test('a metric shows its statistics in total, by bucket and by label', async () => {
    const { page } = admin;
    const name = 'page_load_time';
    await admin.visit(fixed('metric', { name, interval: '12h' }));
    const total = await get(target, '/api/metrics/series', { name, ...range, interval: '12h', tz: ZONE });
    await eventually(page, async () =>
      expect(await readFigures(page)).toEqual(
        Object.fromEntries(STATISTICS.map((statistic) => [TITLES[statistic], total[statistic]])),
      ),
    );

    const { buckets } = total;
    await expandDetails(page);
    await eventually(page, async () => {
      const columns = await columnsOf(page.locator('figure table'));
      for (const statistic of STATISTICS) {
        expect(columns[TITLES[statistic]]).toEqual(
          buckets.map((bucket: Record<string, number | null>) => bucket[statistic] ?? '–'),
        );
      }
    });
    expect(buckets.length).toBeGreaterThan(15);

    const { groups } = await get(target, '/api/metrics/series', { name, ...range, tz: ZONE, group_by: 'data_string' });
    await eventually(page, async () =>
      expect(await tableRows(page.locator('table.bars'))).toEqual(
        groups.map((group: Record<string, number>) => [
          group['data_string'],
          (group['count'] as number) / total.count,
          ...['sum', 'count', 'p50', 'p95'].map((statistic) => group[statistic]),
        ]),
      ),
    );
  });

  test('selecting a figure of a metric puts it on the chart; the unit chooses the first ones', async () => {
    const { page } = admin;
    await admin.visit(fixed('metric', { name: 'page_load_time', interval: '1d' }));
    const legend = page.locator('.legend button');
    await eventually(page, async () => expect(await legend.allTextContents()).toEqual(['Median (p50)', 'p95']));
    const selected = page.locator('.figure button[aria-pressed=true]');
    await eventually(page, async () => expect(await selected.allTextContents()).toEqual(['Median (p50)', 'p95']));
    await page.locator('.figure', { hasText: 'Max' }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('statistic') === 'max');
    await eventually(page, async () => expect(await selected.allTextContents()).toEqual(['Max']));
    await page.waitForSelector('.plot[aria-label^="Max of page_load_time"]');
    // again: back to the default
    await page.locator('.figure', { hasText: 'Max' }).click();
    await page.waitForURL(({ searchParams }) => !searchParams.has('statistic'));

    const authorization = `Bearer ${await token({ sub: 'ada', role: 'admin' })}`;
    const metrics = [10, 20.5].map((metric_value) => ({ metric_name: 'revenue_eur', metric_value, data_string: 'x' }));
    expect((await post(target, '/log_batch', { metrics }, { authorization })).status).toBe(200);
    await admin.visit(`/?view=metric&name=revenue_eur&range=1h&refresh=0`);
    await eventually(page, async () => expect(await selected.allTextContents()).toEqual(['Sum']));
    const sum = page.locator('.figure', { hasText: 'Sum' }).locator('data');
    await eventually(page, async () => expect(await sum.textContent()).toBe('€30.50'));
    expect(await sum.getAttribute('title')).toBe('30.5 EUR');
  });

  test('the tooltip shows the figures of the bucket under the pointer, of the period before, and the change', async () => {
    const { page } = admin;
    const name = 'page_load_time';
    const half = new Date((Date.parse(range.from) + Date.parse(range.to)) / 2).toISOString();
    const parameters = { name, interval: '12h', tz: ZONE };
    await admin.visit(fixed('metric', { name, from: half, interval: '12h', compare: 'previous' }));
    const [current, earlier] = await Promise.all([
      get(target, '/api/metrics/series', { ...parameters, from: half, to: range.to }),
      get(target, '/api/metrics/series', { ...parameters, from: range.from, to: half }),
    ]);
    type Bucket = { start: string; p50: number | null; p95: number | null };
    const { buckets }: { buckets: Bucket[] } = current;
    // both periods are equally long, and begin half a day apart or more
    const middle = (all: Bucket[], i: number, from: string, to: string) => {
      const start = Math.max(Date.parse(all[i]?.start ?? ''), Date.parse(from));
      return (start + Math.min(Date.parse(all[i + 1]?.start ?? to), Date.parse(to))) / 2;
    };
    const length = Date.parse(range.to) - Date.parse(half);
    const before = (i: number): Bucket | undefined => {
      const at = middle(buckets, i, half, range.to) - length;
      return (earlier.buckets as Bucket[]).findLast(({ start }) => Date.parse(start) <= at);
    };
    const plot = await plotOf(page);
    for (const i of [0, 3, buckets.length - 1]) {
      const part = (middle(buckets, i, half, range.to) - Date.parse(half)) / length;
      await page.mouse.move(plot.x + plot.width * part, plot.middle);
      await eventually(page, async () =>
        expect((await readTooltip(page)).figures).toEqual({
          'Median (p50)': [buckets[i]?.p50 ?? null, before(i)?.p50 ?? null],
          p95: [buckets[i]?.p95 ?? null, before(i)?.p95 ?? null],
        }),
      );
    }
    const { title, others } = await readTooltip(page);
    // without seconds if the range ends at a full minute
    expect(title).toMatch(/^\d+ \w{3} \d{4}, \d\d:\d\d–\d\d:\d\d(:\d\d)?$/);
    expect(others).toEqual([expect.stringMatching(/^Incomplete: /)]);
    await page.mouse.move(0, 0);
    await page.locator('.tooltip').waitFor({ state: 'detached' });

    // the arrow keys show the same
    await page.locator('.plot').focus();
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight');
    await eventually(page, async () =>
      expect((await readTooltip(page)).figures['p95']).toEqual([buckets[3]?.p95 ?? null, before(3)?.p95 ?? null]),
    );
    const change = page.locator('.tooltip tr', { hasText: 'Median' }).locator('.change');
    const isUp = (buckets[3]?.p50 ?? 0) > (before(3)?.p50 ?? 0);
    expect(await change.locator('.visually-hidden').textContent()).toMatch(
      isUp ? /^up [\d.]+%, worse$/ : /^down [\d.]+%, better$/,
    );
    await page.keyboard.press('Escape');
    await page.locator('.tooltip').waitFor({ state: 'detached' });
  });

  test('a metric can be compared with the previous period, filtered by label and broken down by label', async () => {
    const { page } = admin;
    const name = 'page_load_time';
    const half = new Date((Date.parse(range.from) + Date.parse(range.to)) / 2).toISOString();
    await admin.visit(fixed('metric', { name, from: half, compare: 'previous' }));
    const before = await get(target, '/api/metrics/series', { name, from: range.from, to: half });
    const now = await get(target, '/api/metrics/series', { name, from: half, to: range.to });
    const count = page.locator('.figure', { hasText: 'Count' });
    await eventually(page, async () =>
      expect(await count.locator('small').textContent()).toContain(`previously ${before.count}`),
    );
    await eventually(page, async () =>
      expect(await count.locator('data').getAttribute('value')).toBe(String(now.count)),
    );

    // buckets are aligned: the period before the last 7 days begins 7 calendar days earlier
    admin.requestedUrls.length = 0;
    await admin.visit(
      `/?view=metric&name=${name}&range=7d&interval=1d&compare=previous&statistic=avg&tz=${ZONE}&refresh=0`,
    );
    const queries = await eventually(page, async () => {
      const urls = admin.requestedUrls.filter((url) => /\/api\/.*interval=1d/.test(url));
      expect(urls).toHaveLength(2);
      return urls.map((url) => new URL(url));
    });
    const [later = '', earlier = ''] = queries
      .map(({ searchParams }) => searchParams.get('from') ?? '')
      .sort()
      .reverse();
    expect(Math.round((Date.parse(later) - Date.parse(earlier)) / 3_600_000 / 24)).toBe(7);
    const week = (from: string) => {
      const query = queries.find(({ searchParams }) => searchParams.get('from') === from)?.searchParams;
      return get(target, '/api/metrics/series', Object.fromEntries(query ?? []));
    };
    const [thisWeek, lastWeek] = await Promise.all([week(later), week(earlier)]);
    await expandDetails(page);
    const averages = ({ buckets }: { buckets: { avg: number | null }[] }) => buckets.map(({ avg }) => avg ?? '–');
    await eventually(page, async () => {
      const columns = await columnsOf(page.locator('figure table'));
      expect(columns['Average']).toEqual(averages(thisWeek));
      expect(columns['Average, previous period']).toEqual(averages(lastWeek));
    });

    await admin.visit(fixed('metric', { name, from: half, compare: 'previous' }));
    const label = '/dashboard';
    const byLabel = (from: string, to: string) =>
      get(target, '/api/metrics/series', { name, from, to, group_by: 'data_string' });
    const [labels, labelsBefore] = await Promise.all([byLabel(half, range.to), byLabel(range.from, half)]);
    const p50 = ({ groups }: typeof labels) =>
      groups.find(({ data_string }: { data_string: string }) => data_string === label).p50;
    const row = page.locator('table.bars tr', { hasText: label });
    const ratio = Math.abs(p50(labels) / p50(labelsBefore) - 1) * 100;
    await eventually(page, async () =>
      expect(await row.locator('.change .visually-hidden').textContent()).toBe(
        `${p50(labels) > p50(labelsBefore) ? 'up' : 'down'} ${Number(ratio.toFixed(ratio >= 10 ? 0 : 1))}%, ${p50(labels) > p50(labelsBefore) ? 'worse' : 'better'}`,
      ),
    );
    await row.locator('button').click();
    await page.waitForURL((url) => url.searchParams.get('label') === label);
    const filtered = await get(target, '/api/metrics/series', { name, from: half, to: range.to, data_string: label });
    await eventually(page, async () => expect((await readFigures(page))['Count']).toBe(filtered.count));

    await admin.visit(fixed('metric', { name, statistic: 'p95', interval: '1d' }));
    await page.getByRole('checkbox', { name: 'Break down by label' }).check();
    await page.waitForURL((url) => url.searchParams.get('split') === 'p95');
    const split = await get(target, '/api/metrics/series', {
      name,
      ...range,
      interval: '1d',
      tz: ZONE,
      group_by: 'data_string',
      top: '5',
    });
    await page.waitForSelector('.plot[aria-label^="p95 of page_load_time by label"]');
    await expandDetails(page);
    expect(split.groups).toHaveLength(5);
    await eventually(page, async () => {
      const rows = await tableRows(page.locator('figure table'));
      split.groups.forEach((group: { buckets: { p95: number | null }[] }, i: number) => {
        expect(rows.map((cells) => cells[i + 1])).toEqual(group.buckets.map(({ p95 }) => p95 ?? '–'));
      });
    });
  });

  test('an event type shows its counts and unique users in total, by bucket and by label', async () => {
    const { page } = admin;
    const type = 'page_view';
    await admin.visit(fixed('event', { name: type, interval: '1d', top: '3' }));
    const counts = await get(target, '/api/analytics/counts', {
      type,
      ...range,
      interval: '1d',
      tz: ZONE,
      group_by: 'data_index',
      top: '3',
    });
    await eventually(page, async () =>
      expect(await readFigures(page)).toMatchObject({ Events: counts.count, 'Unique users': counts.unique_users }),
    );
    await expandDetails(page);
    await eventually(page, async () =>
      expect((await tableRows(page.locator('figure table'))).map((row) => row.slice(1))).toEqual(
        counts.buckets.map((bucket: Record<string, number>) => [bucket['count'], bucket['unique_users']]),
      ),
    );
    const labels = page.locator('section', { has: page.locator('#by-group') }).locator('table');
    expect(counts.other.labels).toBe(4);
    await eventually(page, async () =>
      expect(await tableRows(labels)).toEqual([
        ...counts.groups.map((group: Record<string, number>) => [
          group['data_index'],
          (group['count'] as number) / counts.count,
          group['count'],
          group['unique_users'],
        ]),
        ['4 others', counts.other.count / counts.count, counts.other.count, counts.other.unique_users],
      ]),
    );
  });

  test('an event type is broken down by a typed property, filtered by it, and its numbers are summed', async () => {
    const { page } = admin;
    const type = 'tutorial_step';
    const authorization = `Bearer ${await token({ sub: 'ada', role: 'admin' })}`;
    const analytics = [{ type, data: { note: 'no step' }, data_index: 'other', timestamp: range.from }];
    expect((await post(target, '/log_batch', { analytics }, { authorization })).status).toBe(200);
    await admin.visit(fixed('event', { name: type, interval: '1d' }));
    const property = page.getByRole('combobox', { name: 'Property', exact: true });
    // the latest events' properties are offered
    await eventually(page, async () =>
      expect(
        await page
          .locator('section:has(#by-group) datalist option')
          .evaluateAll((all) => all.map((option) => (option as HTMLOptionElement).value)),
      ).toEqual(expect.arrayContaining(['step', 'outcome'])),
    );
    await property.fill('step');
    await property.press('Enter');
    await page.waitForURL(({ searchParams }) => searchParams.get('property') === 'data.step');
    const sum = page.getByRole('combobox', { name: 'Sum of' });
    await sum.fill('step');
    await sum.press('Enter');
    await page.waitForURL(({ searchParams }) => searchParams.get('sum') === 'data.step');

    const query = { type, ...range, tz: ZONE, sum: 'data.step' };
    const counts = await get(target, '/api/analytics/counts', { ...query, interval: '1d', group_by: 'data.step' });
    expect(counts.sum).toBeGreaterThan(100);
    await eventually(page, async () =>
      expect(await readFigures(page)).toEqual({
        Events: counts.count,
        'Unique users': counts.unique_users,
        'Sum of step': counts.sum,
      }),
    );
    const table = page.locator('section', { has: page.locator('#by-group') }).locator('table');
    expect(counts.groups.map((group: Record<string, unknown>) => group['data.step'])).toContain(null);
    await eventually(page, async () =>
      expect(await tableRows(table)).toEqual(
        counts.groups.map((group: Record<string, number | null>) => [
          group['data.step'] === null ? '(none)' : String(group['data.step']),
          (group['count'] as number) / counts.count,
          group['count'],
          group['unique_users'],
          group['sum'],
        ]),
      ),
    );
    expect(await table.locator('tr', { hasText: '(none)' }).locator('button').count()).toBe(0);
    await expandDetails(page);
    await eventually(page, async () =>
      expect((await columnsOf(page.locator('figure table')))['Sum of step']).toEqual(
        counts.buckets.map((bucket: Record<string, number>) => bucket['sum']),
      ),
    );

    await table.getByRole('button', { name: '2', exact: true }).click();
    await page.waitForURL(({ searchParams }) => searchParams.get('data.step') === '2');
    const filtered = await get(target, '/api/analytics/counts', { ...query, 'data.step': '2' });
    expect(filtered.count).toBeLessThan(counts.count);
    await eventually(page, async () =>
      expect(await readFigures(page)).toMatchObject({ Events: filtered.count, 'Sum of step': filtered.sum }),
    );
    await page.getByRole('button', { name: 'Remove the filter step is 2' }).click();
    await eventually(page, async () => expect((await readFigures(page))['Events']).toBe(counts.count));

    await page.getByRole('checkbox', { name: /^Break down by/ }).check();
    await page.waitForURL(({ searchParams }) => searchParams.get('split') === 'count');
    const top = await get(target, '/api/analytics/counts', {
      ...query,
      interval: '1d',
      group_by: 'data.step',
      top: '5',
    });
    await page.waitForSelector('.plot[aria-label^="Events of tutorial_step by step"]');
    await expandDetails(page);
    await eventually(page, async () => {
      const rows = await tableRows(page.locator('figure table'));
      top.groups.forEach((group: { buckets: { count: number }[] }, i: number) => {
        expect(rows.map((cells) => cells[i + 1])).toEqual(group.buckets.map(({ count }) => count));
      });
    });
  });

  test('a funnel is built by typing, narrowing, moving and removing steps', async () => {
    const { page } = admin;
    await admin.visit(fixed('funnel'));
    const panel = page.locator('section', { has: page.locator('#funnel') }).first();
    const labels = ['step_2', 'step_1', 'finish', 'step_3'];
    for (const [i, label] of labels.entries()) {
      await addStep(page, 'tutorial');
      await page.waitForURL((url) => url.searchParams.getAll('step').length === i + 1);
      await pickIn(page, `Label of step ${i + 1}`, label);
      await page.waitForURL((url) => url.searchParams.getAll('step')[i] === `tutorial_step:${label}`);
    }
    await panel.getByRole('button', { name: 'Move tutorial_step: step_1 earlier' }).click();
    await panel.getByRole('button', { name: 'Remove tutorial_step: finish' }).click();
    const steps = ['step_1', 'step_2', 'step_3'].map((label) => `tutorial_step:${label}`);
    await page.waitForURL((url) => url.searchParams.getAll('step').join() === steps.join());
    const funnel = await get(target, '/api/analytics/funnel', { step: steps, ...range });
    await eventually(page, async () => {
      const rows = await tableRows(panel.locator('table.bars'));
      expect(rows.map(([step, users]) => ({ step, users }))).toEqual(
        funnel.steps.map(({ step, users }: { step: string; users: number }) => ({
          step: step.replace(':', ': '),
          users,
        })),
      );
      expect(rows[2]?.[2]).toBe(`${Number((funnel.steps[2].conversion * 100).toFixed(1))}%`);
    });
    expect(funnel.steps[0].users).toBeGreaterThan(funnel.steps[2].users);
  });

  test('cohort retention shows returning users by day, with the average of the days that are over', async () => {
    const { page } = admin;
    await admin.visit(fixed('retention', { retention: 'page_view:/', returning: 'page_view' }));
    const { cohorts } = await get(target, '/api/analytics/retention', {
      ...{ step: 'page_view:/', return_step: 'page_view' },
      ...range,
      tz: ZONE,
      days: '14',
    });
    const shown = cohorts.filter(({ users }: { users: number }) => users > 0).toReversed();
    expect(shown.length).toBeGreaterThan(2);
    await eventually(page, async () => {
      const rows = await tableRows(page.locator('table.cohorts'));
      expect(rows.length).toBe(shown.length);
      rows.forEach(([day, users, ...returned], i) => {
        expect(day).toBe(shown[i].start.slice(0, 10));
        expect(users).toBe(shown[i].users);
        const expected = shown[i].returned.slice(0, returned.length);
        expect(returned).toEqual(expected.map((count: number | null) => count ?? ''));
      });
    });
    // the last day is not over
    const over = cohorts.slice(0, -2).filter(({ users }: { users: number }) => users > 0);
    const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
    const average =
      sum(over.map(({ returned }: { returned: number[] }) => returned[0])) /
      sum(over.map(({ users }: { users: number }) => users));
    await eventually(page, async () => {
      const values = await page
        .locator('table.cohorts tfoot data')
        .evaluateAll((elements) => elements.map((element) => Number(element.getAttribute('value'))));
      expect(values[0]).toBe(sum(shown.map(({ users }: { users: number }) => users)));
      expect(values[1]).toBeCloseTo(average, 12);
    });
  });

  test('records can be paged, filtered, shown as JSON and downloaded as CSV', async () => {
    const { page } = admin;
    await admin.visit(fixed('records', { kind: 'analytics' }));
    const first = await get(target, '/api/records/analytics', { ...range, limit: '100' });
    const ids = () => page.locator('tr[data-id]').evaluateAll((rows) => rows.map((row) => row.getAttribute('data-id')));
    await eventually(page, async () => expect(await ids()).toEqual(first.records.map(({ id }: { id: string }) => id)));
    await page.click('text=Older rows');
    const second = await get(target, '/api/records/analytics', { ...range, limit: '100', cursor: first.next_cursor });
    await page.waitForSelector(`tr[data-id="${second.records.at(-1).id}"]`);
    await eventually(page, async () =>
      expect(await ids()).toEqual([...first.records, ...second.records].map(({ id }) => id)),
    );

    await page.locator('tr[data-id] button').first().click();
    await eventually(page, async () =>
      expect(JSON.parse((await page.textContent('.opened code')) ?? '')).toEqual(first.records[0]),
    );

    await admin.visit(fixed('records', { kind: 'analytics', name: 'tutorial_step', label: 'finish' }));
    const filtered = { ...range, type: 'tutorial_step', data_index: 'finish' };
    const matching = await get(target, '/api/records/analytics', { ...filtered, limit: '1000' });
    await eventually(page, async () =>
      expect(await ids()).toEqual(matching.records.map(({ id }: { id: string }) => id)),
    );
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Download CSV')]);
    expect(download.suggestedFilename()).toBe('analytics.csv');
    const csv = await Bun.file(await download.path()).text();
    const exported = await send(
      `${target.url}/api/export/analytics?${new URLSearchParams({ ...filtered, format: 'csv', formulas: 'escape' })}`,
      { headers: { authorization: `Bearer ${await token({ sub: 'ada', role: 'admin' })}` } },
    );
    expect(csv).toBe(exported.text); // both are decoded without the byte order mark
    expect(csv.trim().split('\r\n')).toHaveLength(matching.records.length + 1);
  });

  test("numbers of an event's data keep their digits", async () => {
    const body = '{"type":"digits","data":{"big":12345678901234567890,"small":-0.0,"wide":1e999},"data_index":"x"}';
    const { body: id } = await post(target, '/log_raw_analytics', body, {
      authorization: `Bearer ${await token(USER)}`,
    });
    const { page } = user;
    await user.visit(`/?view=records&kind=analytics&name=digits&range=1h&tz=${ZONE}`);
    await page.locator(`tr[data-id="${id}"] button`).click();
    await eventually(page, async () => {
      const text = await page.textContent('.opened code');
      for (const digits of ['12345678901234567890', '-0.0', '1e999']) expect(text).toContain(digits);
    });
  });

  test('a user sees only their own rows and no user filter', async () => {
    const { page } = user;
    const name = 'page_load_time';
    await user.visit(fixed('metric', { name }));
    const own = await get(target, '/api/metrics/series', { name, ...range }, USER);
    const all = await get(target, '/api/metrics/series', { name, ...range });
    expect(own.count).toBeLessThan(all.count);
    await eventually(page, async () => expect((await readFigures(page))['Count']).toBe(own.count));
    expect(await (await openOptions(page)).getByLabel('User').count()).toBe(0);

    await admin.visit(fixed('metric', { name, user: 'user-2' }));
    await eventually(admin.page, async () => expect((await readFigures(admin.page))['Count']).toBe(own.count));
  });
});
