import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { Item, Rejection } from '../../client/src/index.ts';

const DIST = join(import.meta.dir, '../../client/dist');

/** A product whose pages use the TypeScript client, as built. */
export interface ClientApp {
  readonly origin: string;
  stop(): Promise<void>;
}

/** Starts the product's server. A page creates a client from `options` as `client`. */
export function startClientApp(): ClientApp {
  const page = `<!doctype html><title>app</title><script type="module">
    import { createClient } from '/index.js';
    const token = () => nextToken();
    window.handedBack = [];
    const onRejected = (...rejected) => void handedBack.push(handBack(...rejected));
    window.client = createClient({ url: await serverUrl(), token, onRejected });
  </script><p>app`;
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname.endsWith('.js')) return new Response(Bun.file(join(DIST, pathname)));
      return new Response(page, { headers: { 'content-type': 'text/html' } });
    },
  });
  return { origin: server.url.origin, stop: () => server.stop(true) };
}

/** A browser profile with tabs of the product. */
export interface ClientTabs {
  readonly context: BrowserContext;
  /** What the clients of all tabs handed back. */
  readonly rejected: { items: Item[]; rejection: Rejection }[];
  /** The tokens that clients get, in order; the last one again and again. */
  readonly tokens: string[];
  /** Opens a tab, and waits for its client. */
  open(path?: string): Promise<Page>;
  /** Makes pages load although the browser is offline, as a service worker would. */
  serveOffline(): Promise<void>;
}

/**
 * Creates a browser profile.
 *
 * @param url the URL of rawlog
 * @param script runs in each page before the client
 */
export async function createClientTabs(
  browser: Browser,
  app: ClientApp,
  url: string,
  token: string,
  script = '',
): Promise<ClientTabs> {
  // Chromium does not know that pages from the test are local too
  const context = await browser.newContext({ permissions: ['local-network-access'] });
  const tabs: ClientTabs = {
    context,
    rejected: [],
    tokens: [token],
    async open(path = '/') {
      const page = await context.newPage();
      await page.goto(app.origin + path);
      await page.waitForFunction('window.client');
      return page;
    },
    async serveOffline() {
      await context.route(`${app.origin}/**`, async (route) => {
        const response = await fetch(route.request().url());
        const contentType = String(response.headers.get('content-type'));
        await route.fulfill({ body: await response.text(), contentType });
      });
    },
  };
  await context.addInitScript(script);
  await context.exposeFunction('serverUrl', () => url);
  await context.exposeFunction('nextToken', () => (tabs.tokens.length > 1 ? tabs.tokens.shift() : tabs.tokens[0]));
  await context.exposeFunction('handBack', (items: Item[], rejection: Rejection) => {
    tabs.rejected.push({ items, rejection });
  });
  return tabs;
}

/** Records numbers as metrics in a tab. */
export const recordNumbers = (page: Page, first: number, count: number, label = ''): Promise<void> =>
  page.evaluate(`for (let i = 0; i < ${count}; i++) client.metric('n', ${first} + i, '${label}')`);

/** Waits until everything that a tab recorded is stored, or handed back and in `rejected`. */
export const flushTab = (page: Page): Promise<void> =>
  page.evaluate('client.flush().then(() => Promise.all(handedBack)).then(() => {})');
