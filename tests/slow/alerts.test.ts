import { expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { startReceiver } from '../harness/webhook.ts';

const METRICS_TOKEN = 'a-token-for-metrics';

test('a server sends its alerts once, and logs only the host of the webhook', async () => {
  await using receiver = startReceiver();
  using folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  let target = await startTarget(UNLIMITED, { dataDir });
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  await target.stop();
  expect(existsSync(`${target.databasePath}.alerts`)).toBe(false); // without a webhook, there are no alerts

  const env = {
    ...UNLIMITED,
    METRICS_TOKEN,
    MIN_FREE_BYTES: '99999999999999',
    ALERT_WEBHOOK: receiver.url.href,
    ALERT_THRESHOLDS: `${METRIC.metric_name}:count>0/1h`,
  };
  target = await startTarget(env, { dataDir });
  expect(await receiver.received(({ alert }) => alert === 'recording')).toMatchObject({
    status: 'firing',
    details: { reason: 'storage_full' },
  });
  expect(await receiver.received(({ alert }) => alert === 'threshold')).toMatchObject({ details: { value: 1 } });
  await target.logged((line) => line['alert'] === 'threshold');
  const { text } = await send(`${target.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  expect(text).toContain('rawlog_alerts_firing 2\n');
  expect(text).toContain('rawlog_alert_delivery_failures_total 0');
  expect(await target.stop()).toBe(0);
  expect(target.output().stderr).toContain(receiver.url.host);
  expect(target.output().stderr).not.toContain('the-secret-of-the-url');

  // after a restart, only what has changed is sent, and SIGHUP replaces a URL that does not work
  const file = join(folder.path, 'webhook');
  writeFileSync(file, 'http://127.0.0.1:1/\n', { mode: 0o600 });
  const { ALERT_WEBHOOK, ...others } = env;
  const changed = { ...others, ALERT_WEBHOOK_FILE: file, ALERT_THRESHOLDS: 'other:count>0/1h' };
  target = await startTarget(changed, { dataDir });
  await target.logged((line) => line['msg'] === 'an alert could not be delivered');
  writeFileSync(file, ALERT_WEBHOOK);
  target.process.kill('SIGHUP');
  await receiver.received(({ alert, status }) => alert === 'threshold' && status === 'resolved');
  expect(receiver.take()).toEqual(['recording firing', 'threshold firing', 'threshold resolved']);
  expect(await target.stop()).toBe(0);
});

test('doctor sends a test alert, and reports a receiver that does not accept it', async () => {
  await using receiver = startReceiver();
  using folder = temporaryFolder();
  const run = async (env: Record<string, string>) => {
    const settings = { PORT: '0', DATA_DIR: join(folder.path, 'data'), JWT_SECRET: SECRET, ...env };
    const { stdout } = await runCli(['doctor', '--test-alert', '--json'], { env: settings });
    expect(stdout).not.toContain('the-secret-of-the-url');
    return JSON.parse(stdout).findings.filter(({ check }: { check: string }) => check === 'alerts');
  };
  expect(await run({ ALERT_WEBHOOK: receiver.url.href })).toEqual([]);
  expect(receiver.take()).toEqual(['test firing']);
  receiver.state.response = () => Response.redirect('http://127.0.0.1:1/', 302);
  expect(await run({ ALERT_WEBHOOK: receiver.url.href })).toMatchObject([{ detail: receiver.url.host }]);
  expect(await run({})).toMatchObject([{ level: 'problem', summary: expect.stringContaining('not set') }]);
});
