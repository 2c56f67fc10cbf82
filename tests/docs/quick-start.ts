import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, readDocument } from './markdown.ts';

/*
 * Follows the README's quick start as a new user does: clones the repository into an empty folder, runs the command, and
 * pastes the printed curl line. Prints how long each step took. Not a test file: it installs packages (see .ci/run).
 */

const [command] = readDocument('README.md').blocks;
if (!command?.text.includes('npm run dev')) throw new Error('the README does not begin with its quick start');
const folder = mkdtempSync(join(tmpdir(), 'rawlog-quick-start-'));
const clone = Bun.spawnSync(['git', 'clone', '--quiet', ROOT, folder]);
if (clone.exitCode !== 0) throw new Error(`git clone failed: ${clone.stderr}`);

const startedAt = performance.now();
const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
const server = Bun.spawn(['bash', '-c', command.text], {
  cwd: folder,
  env: { ...Bun.env, PORT: '0', CI: '' },
  stdout: 'pipe',
  stderr: 'ignore',
  detached: true,
});
try {
  const printed = await outputUntil(server.stdout, /^curl .*\n/m);
  console.log(`the server listens after ${seconds()}`);
  const [curl = ''] = /^curl .*$/m.exec(printed) ?? [];
  const { stdout, exitCode } = Bun.spawnSync(['bash', '-c', curl]);
  const id = stdout.toString();
  if (exitCode !== 0 || !/^"[0-9a-f-]{36}"$/.test(id)) throw new Error(`the printed curl command failed: ${id}`);
  console.log(`the first row is stored after ${seconds()}: ${id}`);
  const [origin = '', token = ''] = [/http:\/\/[\w.:]+/.exec(curl)?.[0], /Bearer ([\w.-]+)/.exec(curl)?.[1]];
  const series = await fetch(`${origin}/api/metrics/series?name=page_load_time`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const { count } = (await series.json()) as { count?: unknown };
  if (count !== 1) throw new Error(`the first chart has ${count} rows instead of one`);
  console.log(`its chart has data after ${seconds()}`);
} finally {
  process.kill(-server.pid, 'SIGKILL'); // npm, the shell and the server
  await server.exited;
  rmSync(folder, { recursive: true, force: true });
}

/** Reads an output until it matches; what comes after that is discarded. */
async function outputUntil(output: ReadableStream<Uint8Array>, pattern: RegExp): Promise<string> {
  const matched = Promise.withResolvers<string>();
  const read = async () => {
    const decoder = new TextDecoder();
    let text = '';
    for await (const bytes of output) {
      text += decoder.decode(bytes, { stream: true });
      if (pattern.test(text)) matched.resolve(text);
    }
    matched.reject(new Error(`the quick start ended early: ${text}`));
  };
  void read();
  return matched.promise;
}
