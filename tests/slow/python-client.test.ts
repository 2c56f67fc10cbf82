import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join, resolve } from 'node:path';
import { SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';

/*
 * Runs the tests of the Python client, which need a server. They use the Python of the system, as Debian installs it.
 */

const PYTHON = '/usr/bin/python3';
const ROOT = resolve(import.meta.dir, '../../client/python');
const isMissing = Bun.spawnSync([PYTHON, '-c', 'import sqlite3, asyncio'], { stderr: 'ignore' }).exitCode !== 0;
if (isMissing) console.warn('SKIPPED: the Python client: "apt-get install python3"');

const MODULES = ['test_delivery', 'test_rejection', 'test_processes', 'test_offline', 'test_asyncio'];

let target: Target;
/** A server whose rate limit the tests exceed. */
let limited: Target;
/** The exit code and the report of each module. They run at the same time, because they mostly wait. */
let runs: Map<string, Promise<{ exitCode: number; report: string }>>;
beforeAll(async () => {
  target = await startTarget();
  limited = await startTarget({ ...UNLIMITED, RATE_LIMIT: '100/s' });
  if (!isMissing) runs = new Map(MODULES.map((module) => [module, run(module)]));
});
afterAll(async () => {
  await target.stop();
  await limited.stop();
});

async function run(module: string): Promise<{ exitCode: number; report: string }> {
  const child = Bun.spawn([PYTHON, '-W', 'error', '-m', 'unittest', '-v', module], {
    cwd: join(ROOT, 'tests'),
    env: {
      PYTHONDONTWRITEBYTECODE: '1',
      RAWLOG_URL: target.url,
      RAWLOG_DATABASE: target.databasePath,
      RAWLOG_LIMITED_URL: limited.url,
      RAWLOG_LIMITED_DATABASE: limited.databasePath,
      RAWLOG_SECRET: SECRET,
    },
    stdout: 'ignore',
    stderr: 'pipe',
  });
  const report = await new Response(child.stderr).text();
  return { exitCode: await child.exited, report };
}

test.skipIf(isMissing).each(MODULES)(
  'the Python client passes %s',
  async (module) => {
    const { exitCode, report } = (await runs.get(module)) ?? { exitCode: 1, report: '' };
    expect(exitCode, report).toBe(0);
    expect(report).toMatch(/^Ran \d+ tests/m);
  },
  300_000,
);
