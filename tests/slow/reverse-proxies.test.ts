import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readDocument } from '../docs/markdown.ts';
import { expectError, METRIC, send } from '../harness/client.ts';
import { openEvents } from '../harness/events.ts';
import { missingProxies, type ReverseProxy, startProxy } from '../harness/proxies.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The server behind the proxies of docs/deploy.md, as configured there, over TLS.
 */

const PROXIES = [
  ['nginx', 'nginx'],
  ['caddy', 'caddyfile'],
] as const;

describe.each(PROXIES)('behind %s', (name, language) => {
  const isMissing = missingProxies.includes(name);
  const site = readDocument('docs/deploy.md').blocks.find((block) => block.language === language)?.text ?? '';
  let target: Target;
  let proxy: ReverseProxy;
  let user: { authorization: string };
  beforeAll(async () => {
    target = await startTarget({
      JWT_SECRET: SECRET,
      TRUSTED_PROXIES: '127.0.0.1',
      AUTH_FAILURE_LIMIT: '2/h',
      METRICS_TOKEN: 'a-token-for-metrics',
    });
    if (!isMissing) proxy = await startProxy(name, target.url, { site });
    user = { authorization: `Bearer ${await token({ sub: 'anna' })}` };
  });
  afterAll(async () => {
    await proxy?.stop();
    await target.stop();
  });

  const record = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = user) =>
    send(`${proxy.url}/log_raw_metric`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
      tls: proxy.tls,
    });

  test.skipIf(isMissing)('records are stored', async () => {
    expect((await record(JSON.stringify(METRIC))).status).toBe(200);
  });

  test.skipIf(isMissing).each([1.1, 7.9, 8.1, 40])(
    'a body of %d MB is rejected in the format of rawlog',
    async (size) => {
      for (let i = 0; i < 5; i++) {
        expectError(await record(new Uint8Array(size * 1024 ** 2)), 413, 'payload_too_large');
      }
    },
  );

  test.skipIf(isMissing)('rows arrive in a live tail as they are recorded', async () => {
    const tail = await openEvents(`${proxy.url}/api/records/metrics/tail`, user, proxy.tls);
    expect(await tail.next()).toMatchObject({ event: 'open' });
    for (const metric_name of ['first', 'second']) {
      expect((await record(JSON.stringify({ ...METRIC, metric_name }))).status).toBe(200);
      const { data = '' } = (await tail.next()) ?? {};
      expect(JSON.parse(data)).toMatchObject({ metric_name });
    }
    tail.close();
  });

  test.skipIf(isMissing)('exports and the dashboard are passed on', async () => {
    const rows = await send(`${proxy.url}/api/export/metrics?format=csv`, { headers: user, tls: proxy.tls });
    expect(rows.text).toContain('page_load_time');
    expect((await send(proxy.url, { tls: proxy.tls })).text).toStartWith('<!');
  });

  test.skipIf(isMissing).each(['/metrics', '/metrics/', '/%6detrics', '/metrics?a=b'])(
    '%s is private',
    async (path) => {
      const headers = { authorization: 'Bearer a-token-for-metrics' };
      expect((await send(`${target.url}/metrics`, { headers })).status).toBe(200);
      const { status, text } = await send(proxy.url + path, { headers, tls: proxy.tls });
      expect(status).toBe(404);
      expect(text).not.toContain('rawlog_');
    },
  );

  test.skipIf(isMissing)('failed authentications count against the address that the proxy saw', async () => {
    const forged = (address: string) => record('{}', { authorization: 'Bearer forged', 'x-forwarded-for': address });
    expect((await forged('192.0.2.1')).status).toBe(401);
    expect((await forged('192.0.2.2')).status).toBe(401);
    expect((await forged('192.0.2.3')).status).toBe(429);
  });
});
