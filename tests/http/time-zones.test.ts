import { describe, expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ANALYTICS, post, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Buckets follow the time zone rules of the system's database or of the bundled one, whichever is newer.
 */

const ZIC = ['/usr/sbin/zic', '/usr/bin/zic'].find(existsSync);

async function countsOf(target: Target, tz: string) {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const range = 'from=2026-11-18T00:00:00Z&to=2026-11-22T00:00:00Z';
  const path = `/api/analytics/counts?type=${ANALYTICS.type}&interval=day&tz=${tz}&${range}`;
  const { body } = await send(target.url + path, { headers });
  const { body: status } = await send(`${target.url}/api/status`, { headers });
  const days = body.buckets.filter(({ count }: { count: number }) => count > 0);
  return { days: days.map(({ start }: { start: string }) => start), tz: status.tz };
}

/** Starts a server with an event at 07:30 UTC and this folder as the system's time zone database. */
async function serverWith(folder: string): Promise<Target> {
  const target = await startTarget({ ...UNLIMITED, TZDIR: folder, MAX_CLOCK_SKEW: '36500d' });
  const response = await post(target, '/log_raw_analytics', { ...ANALYTICS, timestamp: '2026-11-20T07:30:00Z' });
  expect(response.status).toBe(200);
  return target;
}

/** Compiles source lines of the time zone database into a folder of zone files. */
function compile(folder: string, version: string, source: string): void {
  writeFileSync(join(folder, 'tzdata.zi'), `# version ${version}\n${source}`);
  const { exitCode } = Bun.spawnSync([ZIC ?? '', '-d', folder, join(folder, 'tzdata.zi')]);
  expect(exitCode).toBe(0);
}

describe('without a system database, the server', () => {
  test('uses the bundled rules of 2026', async () => {
    using folder = temporaryFolder();
    const target = await serverWith(folder.path);
    try {
      // Vancouver stays on UTC-7 from November 2026
      const { days, tz } = await countsOf(target, 'America/Vancouver');
      expect(days).toEqual(['2026-11-20T00:00:00-07:00']);
      expect(tz).toEqual({ version: '2026f', source: 'bundled' });
      expect((await countsOf(target, 'Europe/Berlin')).days).toEqual(['2026-11-20T00:00:00+01:00']);
      expect((await countsOf(target, 'america/vancouver')).days).toEqual(days);
    } finally {
      await target.stop();
    }
  });
});

describe.skipIf(!ZIC)('a system database', () => {
  const SOURCE = 'Zone America/Vancouver -5:00 - X\nZone Test/New 3:30 - Y\n';

  test('is used when it is newer', async () => {
    using folder = temporaryFolder();
    compile(folder.path, '2026za', SOURCE);
    const target = await serverWith(folder.path);
    try {
      const { days, tz } = await countsOf(target, 'America/Vancouver');
      expect(days).toEqual(['2026-11-20T00:00:00-05:00']);
      expect(tz).toEqual({ version: '2026za', source: 'system' });
      expect((await countsOf(target, 'Test/New')).days).toEqual(['2026-11-20T00:00:00+03:30']);
      expect((await countsOf(target, 'UTC')).days).toEqual(['2026-11-20T00:00:00Z']);
    } finally {
      await target.stop();
    }
  });

  test('is ignored when it is older', async () => {
    using folder = temporaryFolder();
    compile(folder.path, '2025b', SOURCE);
    const target = await serverWith(folder.path);
    try {
      const { days, tz } = await countsOf(target, 'America/Vancouver');
      expect(days).toEqual(['2026-11-20T00:00:00-07:00']);
      expect(tz.source).toBe('bundled');
    } finally {
      await target.stop();
    }
  });

  test('rejects zone names that lead to files outside of it', async () => {
    using folder = temporaryFolder();
    compile(folder.path, '2099a', SOURCE);
    const target = await serverWith(folder.path);
    try {
      const headers = { authorization: `Bearer ${await token()}` };
      const names = [
        '../../etc/passwd',
        'tzdata.zi',
        'Test',
        'America/../Test/New',
        '/etc/localtime',
        'right/UTC',
        '+05:30',
      ];
      for (const name of names) {
        const response = await send(`${target.url}/api/zone?tz=${encodeURIComponent(name)}`, { headers });
        expect({ name, status: response.status }).toEqual({ name, status: 422 });
      }
    } finally {
      await target.stop();
    }
  });
});
