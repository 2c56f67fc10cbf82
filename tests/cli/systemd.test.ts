import { describe, expect, test } from 'bun:test';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCli, temporaryFolder } from '../harness/target.ts';

/*
 * The unit, as systemd's own tools read it.
 */

const hasSystemd = Bun.which('systemd-analyze') !== null;
if (!hasSystemd) console.warn('SKIPPED: checks of the unit: "apt-get install systemd"');

/** Returns the values of a key of a unit. */
function valuesOf(unit: string, key: string): string[] {
  return unit.split('\n').flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
}

/** Prints the unit for an environment. */
async function printUnit(env: Record<string, string> = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await runCli(['systemd'], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return stdout;
}

/** Runs systemd-analyze on a unit whose program exists. */
function analyze(unit: string, ...args: string[]): { exitCode: number; output: string } {
  using folder = temporaryFolder();
  const program = join(folder.path, 'rawlog');
  writeFileSync(program, '');
  chmodSync(program, 0o755);
  chmodSync(folder.path, 0o755);
  const path = join(folder.path, 'rawlog.service');
  writeFileSync(path, unit.replaceAll('/usr/local/bin/rawlog', program));
  const { exitCode, stdout, stderr } = Bun.spawnSync(['systemd-analyze', ...args, path]);
  return { exitCode, output: stdout.toString() + stderr.toString() };
}

describe.skipIf(!hasSystemd)('systemd-analyze', () => {
  test.each([
    ['by default', {}],
    ['with other folders', { DATA_DIR: '/srv/a "b" %c\\d', DATABASE_URL: 'file:/var/lib/other/x.db' }],
  ])('verify reports nothing %s', async (_, env) => {
    expect(analyze(await printUnit(env), 'verify')).toEqual({ exitCode: 0, output: '' });
  });

  test('verify reports nothing if systemd loads the secret', async () => {
    const unit = (await printUnit()).replace('#LoadCredential', 'LoadCredential').replace('#Env', 'Env');
    expect(valuesOf(unit, 'Environment')).toEqual(['JWT_SECRET_FILE=%d/jwt-secret']);
    expect(analyze(unit, 'verify')).toEqual({ exitCode: 0, output: '' });
  });

  test('security rates the exposure 2.0 or less', async () => {
    const { exitCode, output } = analyze(await printUnit(), 'security', '--offline=yes', '--threshold=20');
    expect(output).toContain('Overall exposure level');
    expect(exitCode).toBe(0); // 1 above the threshold, which is in tenths
  });
});

test('lets the server write to its folder in /var/lib, which systemd creates', async () => {
  const unit = await printUnit();
  expect(valuesOf(unit, 'StateDirectory')).toEqual(['rawlog']);
  expect(valuesOf(unit, 'ReadWritePaths')).toEqual([]);
  expect(valuesOf(unit, 'ProtectSystem')).toEqual(['strict']);
});

test('lets the server write to all folders that settings name, and only there', async () => {
  const unit = await printUnit({ DATA_DIR: '/srv/rawlog', DATABASE_URL: 'file:/var/lib/log/50%25/rawlog.db' });
  expect(valuesOf(unit, 'StateDirectory')).toEqual(['log/50%%']);
  expect(valuesOf(unit, 'ReadWritePaths')).toEqual(['/srv/rawlog']);
  expect(unit).toContain('#   install -d -m 700 -o rawlog -g rawlog /srv/rawlog\n');
  expect(unit).toContain('DATA_DIR=/srv/rawlog DATABASE_URL=file:/var/lib/log/50%25/rawlog.db');
});

test('lets the server write backups to a folder', async () => {
  expect(valuesOf(await printUnit({ BACKUP_DIR: '/srv/backups' }), 'ReadWritePaths')).toEqual(['/srv/backups']);
  const s3 = { BACKUP_DIR: 's3://bucket/prefix', S3_ACCESS_KEY_ID: 'its-id', S3_SECRET_ACCESS_KEY: 'its-key' };
  const unit = await printUnit(s3);
  expect(valuesOf(unit, 'ReadWritePaths')).toEqual([]);
  expect(unit).not.toContain('its-');
});

test.each(['/home/me/data', '/root', '/tmp/data'])('rejects %s, which the unit hides', async (path) => {
  const { exitCode, stderr } = await runCli(['systemd'], { env: { DATA_DIR: path } });
  expect(exitCode).toBe(2);
  expect(stderr).toContain('DATA_DIR is in a folder that the unit hides from the server');
});
