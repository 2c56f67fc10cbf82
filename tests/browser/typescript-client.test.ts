import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { rows } from '../harness/client.ts';
import {
  type ClientApp,
  type ClientTabs,
  createClientTabs,
  flushTab,
  recordNumbers,
  startClientApp,
} from '../harness/client-tabs.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { startUnreliableProxy, type UnreliableProxy } from '../harness/unreliable-proxy.ts';

/* The TypeScript client, as built, in Chromium, behind a proxy that fails. */

const HOUR = 3_600_000;

let target: Target;
let proxy: UnreliableProxy;
let app: ClientApp;
let browser: Browser;
let tabs: ClientTabs;
let user: string;
let users = 0;

describe.skipIf(noBrowser !== undefined)('the TypeScript client in a browser', () => {
  beforeAll(async () => {
    app = startClientApp();
    target = await startTarget({ ...UNLIMITED, CORS_ORIGINS: app.origin });
    proxy = await startUnreliableProxy(target.url);
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await proxy?.stop();
    await app?.stop();
    await target?.stop();
  });
  beforeEach(async () => {
    user = `browser-user-${users++}`;
    proxy.requests.length = 0;
    proxy.next.length = 0;
    proxy.usual = 'pass';
    tabs = await createTabs();
  });
  afterEach(() => tabs.context.close());

  const createTabs = async (script?: string) =>
    createClientTabs(browser, app, proxy.url, await token({ sub: user }), script);
  const stored = () => rows(target, 'metrics').filter((row) => row['user_id'] === user);
  const values = () => stored().map((row) => Number(row['metric_value']));
  const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
  /** Expects the numbers below `count` to be stored once each, with increasing times per label. */
  const expectStored = (count: number) => {
    expect(values().sort((a, b) => a - b)).toEqual(upTo(count));
    const byTime = stored().sort((a, b) => Number(a['happened_at']) - Number(b['happened_at']));
    for (const label of new Set(byTime.map((row) => row['data_string']))) {
      const numbers = byTime.filter((row) => row['data_string'] === label).map((row) => Number(row['metric_value']));
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    }
  };
  const reload = async (page: Page) => {
    await page.reload();
    await page.waitForFunction('window.client');
  };
  const crash = async (page: Page) => {
    const crashed = page.waitForEvent('crash');
    const session = await page.context().newCDPSession(page);
    session.send('Page.crash').catch(() => {});
    await crashed;
    await page.close();
  };

  test('each event of two tabs is stored once, in time order, through failures and 24 hours offline', async () => {
    const { context } = tabs;
    await tabs.serveOffline();
    // ends in the present: the server rejects times in the future
    await context.clock.install({ time: Date.now() - 25 * HOUR });
    let [a, b] = [await tabs.open(), await tabs.open()];
    let next = 0;
    const record = async (page: Page, count = 5) => {
      await recordNumbers(page, next, count, page === a ? 'a' : 'b');
      next += count;
    };
    const late = Promise.withResolvers<void>();
    for (const behavior of ['lose', 'reset', 'stall', { status: 503 }, { until: late.promise }] as const) {
      const seen = proxy.requests.length;
      proxy.next.push(behavior);
      await record(a);
      await context.clock.fastForward(2_000);
      await proxy.received(seen + 1);
      await record(b);
      if (behavior === 'stall') await context.clock.fastForward(31_000);
      if (typeof behavior === 'object' && 'until' in behavior) late.resolve();
      await context.clock.fastForward(5_000);
      await Promise.all([flushTab(a), flushTab(b)]);
    }
    expectStored(next);

    await context.setOffline(true);
    const beforeOffline = proxy.requests.length;
    for (let hour = 0; hour < 24; hour += 3) {
      await record(a);
      await record(b);
      await context.clock.fastForward(3 * HOUR);
      if (hour % 9 === 0) await reload(a);
      if (hour === 12) {
        await crash(b);
        b = await tabs.open();
      }
      if (hour === 18) {
        await a.close();
        a = await tabs.open();
      }
    }
    expect(proxy.requests.length).toBe(beforeOffline);
    await context.setOffline(false);
    await Promise.all([flushTab(a), flushTab(b)]);
    expectStored(next);
    expect(tabs.rejected).toEqual([]);
    console.log(`${next} events recorded, ${values().length} stored, 0 rejected`);
  }, 60_000);

  test('an expired token, a 429 and a 503 delay events, and lose none', async () => {
    const { context } = tabs;
    await context.clock.install();
    tabs.tokens.unshift(await token({ sub: user, exp: 1 }));
    proxy.next.push('pass', { status: 429, headers: { 'retry-after': '600' } }, { status: 503 });
    const page = await tabs.open();
    await recordNumbers(page, 0, 3);
    await context.clock.fastForward(1_500);
    await proxy.received(2); // the second with the new token
    await page.evaluate('new Promise(requestAnimationFrame)');
    await context.clock.fastForward(590_000);
    expect(proxy.requests).toHaveLength(2); // Retry-After has not passed
    await context.clock.fastForward(700_000);
    await proxy.received(3);
    await context.clock.fastForward(61_000);
    await flushTab(page);
    expect(new Set(proxy.requests.map(({ key }) => key)).size).toBe(1);
    expectStored(3);
    expect(tabs.rejected).toEqual([]);
  }, 60_000);

  test('sends what is queued when the page is left, and what does not fit next time', async () => {
    const page = await tabs.open();
    await flushTab(page); // the token is known
    // the last events are recorded while the page is left
    await page.evaluate(`
      for (let i = 0; i < 1500; i++) client.metric('n', i, 'x'.repeat(20));
      addEventListener('pagehide', () => { for (let i = 1500; i < 1510; i++) client.metric('n', i, 'x'.repeat(20)); }, true);
    `);
    await page.goto('about:blank');
    await proxy.received(1);
    const [first] = proxy.requests;
    expect(first?.body.length).toBeLessThan(65_536);
    // the first page that opens after the browser has released the lock of the one that was left
    for (let pages = 0; pages < 20 && values().length < 1510; pages++) await flushTab(await tabs.open());
    expectStored(1510);
  }, 60_000);

  test('two tabs send each event once', async () => {
    const [a, b] = [await tabs.open(), await tabs.open()];
    proxy.next.push('lose', 'lose');
    await Promise.all([recordNumbers(a, 0, 100, 'a'), recordNumbers(b, 100, 100, 'b')]);
    await Promise.all([flushTab(a), flushTab(b)]);
    expectStored(200);
    const bodies = new Map(proxy.requests.map(({ key, body }) => [key, body]));
    expect([...bodies.values()].map((body) => body.match(/metric_name/g)?.length)).toEqual([100, 100]);
  }, 60_000);

  test('works in a worker', async () => {
    const page = await tabs.open();
    const options = JSON.stringify({ url: proxy.url, token: tabs.tokens[0] });
    const script = `import { createClient } from '${app.origin}/index.js';
      const client = createClient(${options});
      client.metric('n', 0);
      client.flush().then(() => postMessage('flushed'));`;
    await page.evaluate(
      (text) =>
        new Promise((resolve, reject) => {
          const url = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
          const worker = new Worker(url, { type: 'module' });
          worker.onmessage = resolve;
          worker.onerror = () => reject(new Error('the worker failed'));
        }).then(() => undefined),
      script,
    );
    expectStored(1);
  }, 60_000);

  test('without Web Locks, a tab takes over what a crashed one left once that is silent for 90 s', async () => {
    await tabs.context.close();
    tabs = await createTabs("Object.defineProperty(navigator, 'locks', { value: undefined })");
    await tabs.context.clock.install({ time: Date.now() - HOUR });
    proxy.usual = 'reset';
    const a = await tabs.open();
    await recordNumbers(a, 0, 5);
    await tabs.context.clock.fastForward(1_500);
    await proxy.received(1);
    await crash(a);
    proxy.usual = 'pass';
    const b = await tabs.open();
    await flushTab(b);
    expect(values()).toEqual([]); // the other tab may still run
    const seen = proxy.requests.length;
    await tabs.context.clock.fastForward(120_000);
    await proxy.received(seen + 1);
    await flushTab(b);
    expectStored(5);
    expect(new Set(proxy.requests.map(({ key }) => key)).size).toBe(1);
  }, 60_000);

  test('continues in memory when the storage is full, or there is none', async () => {
    for (const script of [
      '',
      'delete window.indexedDB; Object.defineProperty(window, "indexedDB", { value: undefined })',
    ]) {
      await tabs.context.close();
      tabs = await createTabs(script);
      const page = await tabs.open();
      if (script === '') {
        const session = await tabs.context.newCDPSession(page);
        await session.send('Storage.overrideQuotaForOrigin', { origin: app.origin, quotaSize: 1 });
      }
      proxy.next.push('reset');
      const count = values().length;
      await recordNumbers(page, count, 100);
      await flushTab(page);
      expectStored(count + 100);
    }
    expect(tabs.rejected).toEqual([]);
  }, 60_000);

  test('hands back the oldest events when more than 4 MB are waiting', async () => {
    const page = await tabs.open();
    await tabs.context.setOffline(true);
    await page.evaluate("for (let i = 0; i < 12; i++) client.track('n', { i, text: 'x'.repeat(400_000) })");
    await tabs.context.setOffline(false);
    await flushTab(page);
    // 10 of them fit
    expect(tabs.rejected.map(({ items, rejection: { code } }) => [items.length, code])).toEqual([
      [1, 'queue_full'],
      [1, 'queue_full'],
    ]);
    expect(tabs.rejected.flatMap(({ items }) => items)).toMatchObject([{ data: { i: 0 } }, { data: { i: 1 } }]);
    const events = rows(target, 'analytics').filter((row) => row['user_id'] === user);
    expect(events.map((row) => JSON.parse(String(row['data'])).i)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  }, 60_000);

  test('hands back a batch whose outcome is unknown after 23 hours, and continues', async () => {
    const { context } = tabs;
    await context.clock.install({ time: Date.now() - 25 * HOUR });
    proxy.next.push('reset');
    await tabs.serveOffline();
    const page = await tabs.open();
    await recordNumbers(page, 0, 3);
    await context.clock.fastForward(1_100);
    await proxy.received(1);
    await context.setOffline(true);
    await recordNumbers(page, 3, 3);
    await context.clock.fastForward(24 * HOUR);
    await reload(page);
    await context.setOffline(false);
    await flushTab(page);
    expect(values()).toEqual([3, 4, 5]);
    expect(tabs.rejected.map(({ items, rejection: { code } }) => [items.length, code])).toEqual([
      [3, 'outcome_unknown'],
    ]);
  }, 60_000);

  test('corrects the times of a clock that is ahead', async () => {
    const now = Date.now();
    await tabs.context.clock.install({ time: now + HOUR });
    const page = await tabs.open();
    await recordNumbers(page, 0, 3);
    await flushTab(page);
    await recordNumbers(page, 3, 3);
    await page.evaluate(`client.metric('given', 6, '', { timestamp: new Date(${now + HOUR}) })`);
    await flushTab(page);
    expectStored(6);
    for (const { happened_at: time } of stored()) {
      expect(Math.abs(Number(time) / 1000 - now)).toBeLessThan(60_000);
    }
    expect(tabs.rejected).toMatchObject([{ items: [{ metric_name: 'given' }], rejection: { status: 422 } }]);
  }, 60_000);

  test('captures page views, web vitals and uncaught errors, without query strings', async () => {
    const page = await tabs.open('/start?secret=1#secret');
    await page.evaluate(`(async () => {
      const { capture } = await import('/capture.js');
      window.stop = capture(client, { pageViews: true, webVitals: true, errors: true });
    })()`);
    await page.click('p');
    await page.evaluate(
      `history.pushState(null, '', '/next?secret=2'); history.replaceState(null, '', '/next?secret=3')`,
    );
    await page.evaluate(`
      setTimeout(() => { throw new TypeError('of the product'); });
      setTimeout(() => { Promise.reject(new Error('of a promise')); });
    `);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve))');
    await page.goBack();
    await page.evaluate(`stop(); history.pushState(null, '', '/after')`);
    await page.goto('about:blank'); // web vitals are final
    await flushTab(await tabs.open());
    const events = rows(target, 'analytics').filter((row) => row['user_id'] === user);
    const data = events.map((row) => [row['type'], row['data_index'], JSON.parse(String(row['data']))]);
    expect(data.filter(([type]) => type === 'page_view').map(([, index]) => index)).toEqual([
      '/start',
      '/next',
      '/start',
    ]);
    const errors = data.filter(([type]) => type === 'uncaught_error');
    expect(errors.map(([, index]) => index).sort()).toEqual(['Error', 'TypeError']);
    expect(errors.map(([, , { path, message }]) => [path, message]).sort()).toEqual([
      ['/next', 'Uncaught TypeError: of the product'],
      ['/next', 'of a promise'],
    ]);
    expect(stored().map((row) => row['metric_name'])).toContain('web_vital_ttfb');
    expect(JSON.stringify([events, stored()])).not.toContain('secret');
  }, 60_000);
});
