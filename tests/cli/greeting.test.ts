import { describe, expect, test } from 'bun:test';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { post, send } from '../harness/client.ts';
import { COMMAND, startTarget, TARGET, temporaryFolder } from '../harness/target.ts';

const ROOT = resolve(import.meta.dir, '../..');
const PATH = Bun.env['PATH'] ?? '';

/** Returns the printed command for an admin link. */
function printedCommand(stdout: string): string {
  return stdout.split('\n').find((line) => line.includes(' token --sub ')) ?? '';
}

/** Runs a printed command in a new shell, and signs in with the link that it prints. */
async function expectAdminLink(command: string, cwd: string, url: string): Promise<void> {
  const { stdout, stderr, exitCode } = Bun.spawnSync(['sh', '-c', command], { cwd, env: { PATH } });
  expect({ command, exitCode, stderr: stderr.toString() }).toEqual({ command, exitCode: 0, stderr: '' });
  const [address = '', code = ''] = stdout.toString().trim().split('#code=');
  expect(address).toBe(`${url}/`);
  const { token } = (await post({ url }, '/api/session', { code })).body;
  const status = await send(`${url}/api/status`, { headers: { authorization: `Bearer ${token}` } });
  expect(status.status).toBe(200);
  // visible only to an admin
  expect(status.body.ledger.received).toBe(0);
}

describe('the admin link command that serve prints', () => {
  // a bundle is started neither like the sources nor like the binary
  test.skipIf(TARGET === 'bundle')('works when pasted, and includes the required settings', async () => {
    using folder = temporaryFolder();
    const env = { JWT_AUDIENCE: "ours, it's", JWT_ISSUER: 'https://login.example.com/$HOME' };
    const target = await startTarget(env, { cwd: folder.path, dataDir: "my data's" });
    try {
      await target.printed('curl ');
      await expectAdminLink(printedCommand(target.output().stdout), folder.path, target.url);
    } finally {
      await target.stop();
    }
  });

  test.skipIf(TARGET !== 'binary')('uses the name that the binary was started with', async () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, 'tools'));
    symlinkSync(COMMAND[0] as string, join(folder.path, 'tools/log')); // COMMAND is never empty
    for (const [name, path] of [
      ['./tools/log', PATH],
      ['log', `${join(folder.path, 'tools')}:${PATH}`],
    ] as const) {
      const stdout = await greetingOf([name, 'serve'], folder.path, { PATH: path }, async (text, url) => {
        const command = printedCommand(text);
        expect(command).toStartWith(`${name} token `);
        const { stdout: link } = Bun.spawnSync(['sh', '-c', command], { cwd: folder.path, env: { PATH: path } });
        expect(link.toString()).toStartWith(`${url}/#code=`);
      });
      expect(stdout).not.toContain('npm');
    }
  });

  test.skipIf(TARGET === 'binary')('uses the npm script after "npm run dev"', async () => {
    using folder = temporaryFolder();
    const env = { PATH, HOME: folder.path, DATA_DIR: join(folder.path, 'data') };
    await greetingOf(['npm', 'run', 'dev'], ROOT, env, async (stdout, url) => {
      const command = printedCommand(stdout);
      expect(command).toStartWith('npm run -s rawlog -- token --sub me ');
      await expectAdminLink(command, ROOT, url);
      await expectAdminLink(command, join(ROOT, 'src'), url);
    });
  });
});

/** Starts a server with a given command, passes its startup message to a check, and ends it with its child processes. */
async function greetingOf(
  command: readonly string[],
  cwd: string,
  env: Record<string, string>,
  check: (stdout: string, url: string) => Promise<void>,
): Promise<string> {
  const child = Bun.spawn(['setsid', ...command], {
    cwd,
    env: { PORT: '0', LOG_LEVEL: 'silent', ...env },
    stdout: 'pipe',
    stderr: 'inherit',
  });
  try {
    let stdout = '';
    const decoder = new TextDecoder();
    for await (const bytes of child.stdout) {
      stdout += decoder.decode(bytes, { stream: true });
      if (stdout.includes('curl ')) break;
    }
    const url = /^rawlog is listening on {2}(\S+)$/m.exec(stdout)?.[1] ?? '';
    await check(stdout, url);
    return stdout;
  } finally {
    process.kill(-child.pid, 'SIGTERM');
    await child.exited;
  }
}
