import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateShop } from '../../src/demo/shop.ts';
import { send } from '../harness/client.ts';
import { COMMAND, runCli, temporaryFolder } from '../harness/target.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 4, 20, 15, 30);

describe('the invented shop', () => {
  const rows = generateShop(NOW);
  const eventsOf = (type: string) => rows.filter((row) => 'type' in row && row.type === type);

  test('is the same for the same seed, and moves with the time', () => {
    expect(generateShop(NOW)).toEqual(rows);
    expect(generateShop(NOW, 8).length).not.toBe(rows.length);
    expect(generateShop(NOW + 7 * DAY)[0]?.at).toBe((rows[0]?.at ?? 0) + 7 * DAY);
  });

  test('covers two whole months and the time until now in chronological order, without a row in the future', () => {
    expect(rows.every(({ at }, i) => i === 0 || at >= (rows[i - 1]?.at ?? 0))).toBe(true);
    expect(rows.at(-1)?.at).toBeLessThan(NOW);
    expect(new Set(rows.filter(({ at }) => at > NOW - 5 * 60_000).map(({ user }) => user)).size).toBeGreaterThan(3);
    const { at: first = 0 } = rows[0] ?? {};
    expect(first).toBeGreaterThan(NOW - 93 * DAY);
    // December 31: the last two months before it begin on October 1
    expect(first).toBeLessThan(NOW - (31 + 30 + 30) * DAY);
    expect(rows.length).toBeGreaterThan(150_000);
  });

  test('has a funnel that loses users at each step, and a checkout that became slow', () => {
    const users = ['page_view', 'signup', 'checkout_start', 'purchase'].map(
      (type) => new Set(eventsOf(type).map(({ user }) => user)).size,
    );
    expect(users).toEqual(users.toSorted((a, b) => b - a));
    expect(users.at(-1)).toBeGreaterThan(100);
    const loads = rows.filter((row) => 'metric' in row && row.metric === 'page_load_time' && row.label === '/checkout');
    const medianOf = (from: number, to: number) => {
      const values = loads.flatMap((row) => ('value' in row && row.at >= from && row.at < to ? [row.value] : []));
      return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
    };
    expect(medianOf(NOW - 5 * DAY, NOW)).toBeGreaterThan(2 * medianOf(0, NOW - 10 * DAY));
  });
});

/** Starts the demo as a server does, and returns what it prints. */
async function startDemo(dataDir: string) {
  const child = Bun.spawn([...COMMAND, 'demo', '--attached'], {
    env: { DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'warn', JWT_SECRET: 'a-secret-of-the-real-server-32-bytes' },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const { value } = await child.stdout.getReader().read();
  if (!value) throw new Error(await new Response(child.stderr).text());
  return { child, report: JSON.parse(new TextDecoder().decode(value)) };
}

describe('rawlog demo', () => {
  test('serves the shop from its own folder with its own secret, and stops when standard input ends', async () => {
    using folder = temporaryFolder();
    const { child, report } = await startDemo(folder.path);
    const headers = { authorization: `Bearer ${report.token}` };
    const { body } = await send(`${report.url}/api/activity`, { headers });
    expect(body.metrics.count + body.analytics.count).toBe(report.rows);
    expect(Date.now() - Date.parse(body.to)).toBeLessThan(DAY);
    const status = (await send(`${report.url}/api/status`, { headers })).body;
    expect(status.ledger).toMatchObject({ received: report.rows, stored: report.rows, rejected: {} });
    // a viewer: it cannot record
    const recording = await send(`${report.url}/log_raw_metric`, { method: 'POST', headers, body: '{}' });
    expect(recording.status).toBe(403);
    expect(existsSync(join(folder.path, 'rawlog.db'))).toBe(false);
    expect(existsSync(join(folder.path, 'demo/jwt-secret'))).toBe(true);
    child.stdin.end();
    expect(await child.exited).toBe(0);
    const verified = await runCli(['verify'], { env: { DATA_DIR: join(folder.path, 'demo') } });
    expect([verified.exitCode, verified.stderr]).toEqual([0, '']);
  }, 60_000);

  test('replaces earlier demo data, and refuses a folder that it has not made', async () => {
    using folder = temporaryFolder();
    const first = await startDemo(folder.path);
    first.child.stdin.end();
    await first.child.exited;
    const second = await startDemo(folder.path);
    second.child.kill();
    expect(await second.child.exited).toBe(0);

    using real = temporaryFolder();
    mkdirSync(join(real.path, 'demo'));
    writeFileSync(join(real.path, 'demo/rawlog.db'), 'a database');
    const { exitCode, stderr } = await runCli(['demo'], { env: { DATA_DIR: real.path, PORT: '0' } });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('was not made by the demo');
    expect(await Bun.file(join(real.path, 'demo/rawlog.db')).text()).toBe('a database');
  }, 60_000);

  test('starts only if the disk has room beyond MIN_FREE_BYTES', async () => {
    using folder = temporaryFolder();
    const env = { DATA_DIR: folder.path, PORT: '0', MIN_FREE_BYTES: '90000000000000' };
    const { exitCode, stderr } = await runCli(['demo'], { env });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('128 MB');
    expect(existsSync(join(folder.path, 'demo'))).toBe(false);
  });
});
