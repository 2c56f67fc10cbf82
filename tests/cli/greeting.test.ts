import { describe, expect, test } from 'bun:test';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type HttpResponse, post, send } from '../harness/client.ts';
import { COMMAND, runCli, startTarget, TARGET, temporaryFolder } from '../harness/target.ts';
import { hasTerminals, openTerminal } from '../harness/terminal.ts';

const ROOT = resolve(import.meta.dir, '../..');
const PATH = Bun.env['PATH'] ?? '';

/** A sign-in code, or a token in a header field. */
const SECRETS = /#code=|Bearer [\w-]+\./;

/** Returns the first printed command that prints a sign-in link. */
function printedCommand(stdout: string): string {
  return stdout.split('\n').find((line) => / token --sub .* --link/.test(line) && !line.startsWith('curl ')) ?? '';
}

/** Runs a printed command in a new shell, and signs in with the link that it prints. Returns the status that it shows. */
async function expectUserLink(command: string, cwd: string, url: string): Promise<HttpResponse['body']> {
  const { stdout, stderr, exitCode } = Bun.spawnSync(['sh', '-c', command], { cwd, env: { PATH } });
  expect({ command, exitCode, stderr: stderr.toString() }).toEqual({ command, exitCode: 0, stderr: '' });
  const [address = '', code = ''] = stdout.toString().trim().split('#code=');
  expect(address).toBe(`${url}/`);
  const { token } = (await post({ url }, '/api/session', { code })).body;
  const status = await send(`${url}/api/status`, { headers: { authorization: `Bearer ${token}` } });
  expect(status.status).toBe(200);
  return status.body;
}

async function expectAdminLink(command: string, cwd: string, url: string): Promise<void> {
  const { ledger } = await expectUserLink(command, cwd, url);
  expect(ledger.received).toBe(0); // visible only to an admin
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

  test('is printed by every start, but a token and a link only by the first one', async () => {
    using folder = temporaryFolder();
    const dataDir = join(folder.path, "my data's");
    const first = await startTarget({}, { dataDir });
    await first.printed('/dashboard');
    await first.stop();
    expect(first.output().stdout).toMatch(SECRETS);
    const later = await startTarget({}, { dataDir, cwd: folder.path });
    try {
      await later.printed('/dashboard');
      const { stdout } = later.output();
      expect(stdout).toContain(' token --sub me --role admin ');
      expect(stdout).not.toMatch(SECRETS);
      if (TARGET === 'bundle') return; // it is started neither like the sources nor like the binary
      const curl = stdout.split('\n').find((line) => line.startsWith('curl ')) ?? '';
      const run = Bun.spawnSync(['sh', '-c', curl], { cwd: folder.path, env: { PATH } });
      expect(run.stdout.toString()).toMatch(/^"[0-9a-f-]{36}"$/);
      await expectUserLink(printedCommand(stdout), folder.path, later.url);
    } finally {
      await later.stop();
    }
  });

  test.skipIf(process.platform !== 'linux')(
    'has no token and no link in the journal, even of the first start',
    async () => {
      // as systemd does for the standard output of a service
      const script = 'exec 3>&1; export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/self/fd/3)"; exec "$@" 3>&-';
      const target = await startTarget({ PATH }, { prefix: ['sh', '-c', script, 'sh'] });
      await target.printed('/dashboard');
      await target.stop();
      expect(target.output().stdout).toContain('rawlog generated a secret');
      expect(target.output().stdout).not.toMatch(SECRETS);
    },
  );

  test.skipIf(!hasTerminals)('includes a token and a link in a terminal, whenever it starts', async () => {
    using folder = temporaryFolder();
    const env = { PORT: '0', DATA_DIR: folder.path };
    await runCli(['token', '--sub', 'me'], { env }); // generates the secret
    const child = openTerminal(['serve'], env);
    let text = '';
    for await (const bytes of child.stdout) {
      text += new TextDecoder().decode(bytes);
      if (text.includes('curl ') && text.includes('/dashboard')) break;
    }
    child.kill();
    await child.exited;
    expect(text).toContain('uses its generated secret');
    expect(text).toMatch(SECRETS);
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
