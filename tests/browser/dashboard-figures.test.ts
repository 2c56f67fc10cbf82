import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post, send } from '../harness/client.ts';
import { ask, type Dashboard, figures, settled, signedIn, tableRows } from '../harness/dashboard.ts';
import { recordProduct } from '../harness/product.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const ZONE = 'America/New_York';
const USER = { sub: 'user-2' };

let target: Target;
let browser: Browser;
let admin: Dashboard;
let user: Dashboard;
/** A range that does not move: the same rows for the page and for whoever asks beside it. */
let range: { from: string; to: string };

beforeAll(async () => {
  if (noBrowser) return;
  [target, browser] = await Promise.all([startTarget(), startBrowser()]);
  await recordProduct(target, { users: 12, days: 12, rowsPerDay: 12 });
  const now = Date.now();
  range = { from: new Date(now - 9 * 86_400_000).toISOString(), to: new Date(now).toISOString() };
  [admin, user] = await Promise.all([signedIn(browser, target), signedIn(browser, target, USER)]);
});
afterAll(async () => {
  expect([...(admin?.complaints ?? []), ...(user?.complaints ?? [])]).toEqual([]);
  await browser?.close();
  await target?.stop();
});

const fixed = (view: string, rest: Record<string, string> = {}) =>
  `/?${new URLSearchParams({ view, ...range, tz: ZONE, refresh: '0', ...rest })}`;

/** The figures of a bucket, as the page's tables have them. */
const STATISTICS = ['count', 'avg', 'p50', 'p95', 'p99', 'min', 'max'] as const;

describe.skipIf(noBrowser !== undefined)('the page shows what the reading routes answer', () => {
  test('overview: rows, names, ledger and storage', async () => {
    const { page } = admin;
    await admin.visit(fixed('overview', { interval: '6h' }));
    const activity = await ask(target, '/api/activity', { ...range, interval: '6h', tz: ZONE, top: '8' });
    const panel = page.locator('section', { has: page.locator('#activity') });
    expect((await figures(panel))['In this range']).toBe(activity.metrics.count + activity.analytics.count);
    expect(activity.metrics.count).toBeGreaterThan(100);

    const names = await tableRows(page.locator('section', { has: page.locator('#top-metrics') }).locator('table'));
    expect(names.map(([name, , count]) => ({ name, count }))).toEqual(
      activity.metrics.names.map(({ name, count }: { name: string; count: number }) => ({ name, count })),
    );
    const types = await tableRows(page.locator('section', { has: page.locator('#top-types') }).locator('table'));
    expect(types.map(([type, , count]) => ({ type, count }))).toEqual(
      activity.analytics.types.map(({ type, count }: { type: string; count: number }) => ({ type, count })),
    );

    await panel.locator('summary').click();
    const rows = await tableRows(panel.locator('table'));
    expect(rows).toHaveLength(activity.starts.length);
    // a bucket that the range cuts has the minutes that are in the range
    const edges = [range.from, ...activity.starts.slice(1), range.to].map((text) => Date.parse(text));
    const minutes = (i: number) => ((edges[i + 1] as number) - (edges[i] as number)) / 60_000;
    rows.forEach(([, metrics, events], i) => {
      expect(Number(metrics) * minutes(i)).toBeCloseTo(activity.metrics.counts[i], 6);
      expect(Number(events) * minutes(i)).toBeCloseTo(activity.analytics.counts[i], 6);
    });

    const { ledger, storage, queue } = await ask(target, '/api/status');
    const shown = await figures(page);
    expect(shown['Received']).toBe(ledger.received);
    expect(shown['Stored']).toBe(ledger.stored);
    expect(shown['Duplicates']).toBe(ledger.duplicates);
    expect(shown['Used']).toBeGreaterThanOrEqual(storage.database_bytes);
    expect(shown['Waiting for the disk']).toBe(queue.rows);
    expect(await page.textContent('#forecast')).toMatch(/\(.* a day\) the disk is full in [\w\d,. ]+\.$/);
    expect(await page.textContent('main')).toContain('after fsync');
  });

  test('why items were rejected is one click away from their number', async () => {
    const refused = await post(target, '/log_raw_metric', { metric_name: '', metric_value: 1 }, {});
    expect(refused.status).toBe(422);
    const { page } = admin;
    await admin.visit(fixed('overview'));
    const rejected = page.locator('details.rejected', { hasText: 'validation_failed' });
    const { ledger } = await ask(target, '/api/status');
    expect(await rejected.locator('summary data').getAttribute('value')).toBe(
      String(ledger.rejected.validation_failed),
    );
    await rejected.locator('summary').click();
    const row = rejected.locator('li', { hasText: refused.body.request_id });
    await row.waitFor();
    for (const { loc, msg } of refused.body.detail)
      expect(await row.textContent()).toContain(`${loc.join('.')} ${msg}`);
    expect(refused.body.detail).toHaveLength(2);
  });

  test('metric: the whole range, each bucket, and each label', async () => {
    const { page } = admin;
    const name = 'page_load_time';
    await admin.visit(fixed('metric', { name, interval: '12h' }));
    const whole = (await ask(target, '/api/metrics/series', { name, ...range, tz: ZONE })).buckets[0];
    const titles = {
      avg: 'Average',
      p50: 'Median (p50)',
      p95: 'p95',
      p99: 'p99',
      min: 'Min',
      max: 'Max',
      count: 'Count',
    };
    const shown = await figures(page);
    for (const statistic of STATISTICS) expect(shown[titles[statistic]]).toBe(whole[statistic]);

    const { buckets } = await ask(target, '/api/metrics/series', { name, ...range, interval: '12h', tz: ZONE });
    await page.click('figure summary');
    const rows = await tableRows(page.locator('figure table'));
    expect(rows.map((row) => row.slice(1))).toEqual(
      buckets.map((bucket: Record<string, number | null>) =>
        ['max', 'min', 'avg', 'p50', 'p95', 'p99'].map((statistic) => bucket[statistic] ?? '–'),
      ),
    );
    expect(rows.length).toBeGreaterThan(15);

    const { groups } = await ask(target, '/api/metrics/series', { name, ...range, tz: ZONE, group_by: 'data_string' });
    expect(await tableRows(page.locator('table.bars'))).toEqual(
      groups.map(({ data_string, buckets: [bucket] }: { data_string: string; buckets: Record<string, number>[] }) => [
        data_string,
        '',
        ...STATISTICS.map((statistic) => bucket?.[statistic]),
      ]),
    );
  });

  test('metric: the period before beside it, one label alone, and lines by label', async () => {
    const { page } = admin;
    const name = 'page_load_time';
    const half = new Date((Date.parse(range.from) + Date.parse(range.to)) / 2).toISOString();
    await admin.visit(fixed('metric', { name, from: half, compare: '1' }));
    const before = (await ask(target, '/api/metrics/series', { name, from: range.from, to: half })).buckets[0];
    const now = (await ask(target, '/api/metrics/series', { name, from: half, to: range.to })).buckets[0];
    const count = page.locator('.figure', { hasText: 'Count' });
    expect(await count.locator('small').textContent()).toContain(`before: ${before.count}`);
    expect(await count.locator('data').getAttribute('value')).toBe(String(now.count));

    // bucket stands beside bucket: the period before of the last 7 days is 7 days of the calendar earlier
    admin.requested.length = 0;
    await admin.visit(`/?view=metric&name=${name}&range=7d&interval=1d&compare=1&tz=${ZONE}&refresh=0`);
    const asked = admin.requested
      .filter((address) => address.includes('interval=1d'))
      .map((address) => new URL(address));
    const [later = '', earlier = ''] = asked
      .map(({ searchParams }) => searchParams.get('from') ?? '')
      .sort()
      .reverse();
    expect(Math.round((Date.parse(later) - Date.parse(earlier)) / 3_600_000 / 24)).toBe(7);
    const week = (from: string) => {
      const of = asked.find(({ searchParams }) => searchParams.get('from') === from)?.searchParams;
      return ask(target, '/api/metrics/series', Object.fromEntries(of ?? []));
    };
    const [thisWeek, lastWeek] = await Promise.all([week(later), week(earlier)]);
    await page.click('figure summary');
    const compared = await tableRows(page.locator('figure table'));
    expect(compared.map((row) => row[3])).toEqual(
      thisWeek.buckets.map(({ avg }: { avg: number | null }) => avg ?? '–'),
    );
    expect(compared.map((row) => row[7])).toEqual(
      lastWeek.buckets.map(({ avg }: { avg: number | null }) => avg ?? '–'),
    );

    await admin.visit(fixed('metric', { name, from: half, compare: '1' }));
    await page.click('table.bars button:has-text("/dashboard")');
    await settled(page);
    expect(new URL(page.url()).searchParams.get('label')).toBe('/dashboard');
    const alone = await ask(target, '/api/metrics/series', {
      name,
      from: half,
      to: range.to,
      data_string: '/dashboard',
    });
    expect((await figures(page))['Count']).toBe(alone.buckets[0].count);

    await admin.visit(fixed('metric', { name, split: 'p95', interval: '1d' }));
    const split = await ask(target, '/api/metrics/series', {
      name,
      ...range,
      interval: '1d',
      tz: ZONE,
      group_by: 'data_string',
      top: '5',
    });
    await page.click('figure summary');
    const rows = await tableRows(page.locator('figure table'));
    expect(split.groups).toHaveLength(5);
    split.groups.forEach((group: { buckets: { p95: number | null }[] }, i: number) => {
      expect(rows.map((row) => row[i + 1])).toEqual(group.buckets.map(({ p95 }) => p95 ?? '–'));
    });
  });

  test('event: counts, unique users, labels, other', async () => {
    const { page } = admin;
    const type = 'page_view';
    await admin.visit(fixed('event', { name: type, interval: '1d', top: '3' }));
    const counts = await ask(target, '/api/analytics/counts', {
      type,
      ...range,
      interval: '1d',
      tz: ZONE,
      group_by: 'data_index',
      top: '3',
    });
    const shown = await figures(page);
    expect(shown['Events']).toBe(counts.count);
    expect(shown['Unique users']).toBe(counts.unique_users);
    await page.click('figure summary');
    const rows = await tableRows(page.locator('figure table'));
    expect(rows.map((row) => row.slice(1))).toEqual(
      counts.buckets.map((bucket: Record<string, number>) => [bucket['count'], bucket['unique_users']]),
    );
    const labels = await tableRows(page.locator('section', { has: page.locator('#by-index') }).locator('table'));
    expect(counts.other.labels).toBe(4);
    expect(labels).toEqual([
      ...counts.groups.map((group: Record<string, unknown>) => [
        group['data_index'],
        '',
        group['count'],
        group['unique_users'],
      ]),
      ['4 others', '', counts.other.count, counts.other.unique_users],
    ]);
  });

  test('funnel: built by picking steps, moved and removed', async () => {
    const { page } = admin;
    const type = 'tutorial_step';
    await admin.visit(fixed('event', { name: type }));
    const panel = page.locator('section', { has: page.locator('#funnel') }).first();
    for (const step of ['step_2', 'step_1', 'finish', 'step_3']) {
      await panel.locator('select').first().selectOption({ label: step });
      await panel.locator('.steps li', { hasText: step }).waitFor();
    }
    await panel.getByRole('button', { name: 'Move step_1 up' }).click();
    await panel.getByRole('button', { name: 'Remove finish' }).click();
    await settled(page);
    const steps = ['step_1', 'step_2', 'step_3'];
    expect(new URL(page.url()).searchParams.getAll('step')).toEqual(steps);
    const funnel = await ask(target, '/api/analytics/funnel', { type, step: steps, ...range });
    const rows = await tableRows(panel.locator('table'));
    expect(rows.map(([step, , users]) => ({ step, users }))).toEqual(
      funnel.steps.map(({ step, users }: { step: string; users: number }) => ({ step, users })),
    );
    expect(funnel.steps[0].users).toBeGreaterThan(funnel.steps[2].users);
    expect(rows[2]?.[3]).toBe(`${Number((funnel.steps[2].conversion * 100).toFixed(1))}%`);
  });

  test('retention: who came back, by day', async () => {
    const { page } = admin;
    const type = 'page_view';
    await admin.visit(fixed('event', { name: type, retention: '/' }));
    const { cohorts } = await ask(target, '/api/analytics/retention', {
      type,
      step: '/',
      ...range,
      tz: ZONE,
      days: '14',
    });
    const rows = await tableRows(page.locator('table.cohorts'));
    const shown = cohorts.filter(({ users }: { users: number }) => users > 0).toReversed();
    expect(rows.length).toBe(shown.length);
    expect(rows.length).toBeGreaterThan(2);
    rows.forEach(([day, users, ...back], i) => {
      expect(day).toBe(shown[i].start.slice(0, 10));
      expect(users).toBe(shown[i].users);
      expect(back).toEqual(shown[i].returned.slice(0, back.length).map((one: number | null) => one ?? ''));
    });
  });

  test('records: rows, older rows, filters, the JSON of one, and the same as CSV', async () => {
    const { page } = admin;
    await admin.visit(fixed('records', { kind: 'analytics' }));
    const first = await ask(target, '/api/records/analytics', { ...range, limit: '100' });
    const ids = () => page.locator('tr[data-id]').evaluateAll((rows) => rows.map((row) => row.getAttribute('data-id')));
    expect(await ids()).toEqual(first.records.map(({ id }: { id: string }) => id));
    await page.click('text=Older rows');
    const second = await ask(target, '/api/records/analytics', { ...range, limit: '100', cursor: first.next_cursor });
    await page.waitForSelector(`tr[data-id="${second.records.at(-1).id}"]`);
    expect(await ids()).toEqual([...first.records, ...second.records].map(({ id }) => id));

    await page.locator('tr[data-id] button').first().click();
    expect(JSON.parse((await page.textContent('.opened code')) ?? '')).toEqual(first.records[0]);

    await admin.visit(fixed('records', { kind: 'analytics', name: 'tutorial_step', label: 'finish' }));
    const filtered = { ...range, type: 'tutorial_step', data_index: 'finish' };
    const found = await ask(target, '/api/records/analytics', { ...filtered, limit: '1000' });
    expect(await ids()).toEqual(found.records.map(({ id }: { id: string }) => id));
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Download CSV')]);
    expect(download.suggestedFilename()).toBe('analytics.csv');
    const csv = await Bun.file(await download.path()).text();
    const exported = await send(
      `${target.url}/api/export/analytics?${new URLSearchParams({ ...filtered, format: 'csv', formulas: 'escape' })}`,
      { headers: { authorization: `Bearer ${await token({ sub: 'ada', role: 'admin' })}` } },
    );
    expect(csv).toBe(exported.text);
    expect(csv.trim().split('\r\n')).toHaveLength(found.records.length + 1);
  });

  test("numbers of an event's data keep their digits", async () => {
    const body = '{"type":"digits","data":{"big":12345678901234567890,"small":-0.0,"wide":1e999},"data_index":"x"}';
    const { body: id } = await post(target, '/log_raw_analytics', body, {
      authorization: `Bearer ${await token(USER)}`,
    });
    const { page } = user;
    await user.visit(`/?view=records&kind=analytics&name=digits&range=1h&tz=${ZONE}`);
    await page.locator(`tr[data-id="${id}"] button`).click();
    const text = await page.textContent('.opened code');
    for (const digits of ['12345678901234567890', '-0.0', '1e999']) expect(text).toContain(digits);
  });

  test('a user sees their own rows alone, and no field for others', async () => {
    const { page } = user;
    const name = 'page_load_time';
    await user.visit(fixed('metric', { name }));
    const own = await ask(target, '/api/metrics/series', { name, ...range }, USER);
    const all = await ask(target, '/api/metrics/series', { name, ...range });
    expect(own.buckets[0].count).toBeLessThan(all.buckets[0].count);
    expect((await figures(page))['Count']).toBe(own.buckets[0].count);
    expect(await page.getByLabel('User').count()).toBe(0);

    await admin.visit(fixed('metric', { name, user: 'user-2' }));
    expect((await figures(admin.page))['Count']).toBe(own.buckets[0].count);
  });
});
