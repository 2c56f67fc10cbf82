import { afterAll, describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { noBrowser, startBrowser } from '../harness/browser.ts';
import { startJwksServer } from '../harness/jwks-server.ts';
import { missingProxies, startProxy } from '../harness/proxies.ts';
import { COMMAND, canMount, TARGET, temporaryFolder } from '../harness/target.ts';
import { type CodeBlock, DOCUMENTS, type Document, ROOT, readDocument } from './markdown.ts';

/*
 * Runs every command and example of the documents, page by page and in order, with the program under test in the place of
 * dist/rawlog. The word after a block's language says how:
 *
 * - none: a shell runs it, and every command must succeed
 * - `background`: it starts a server, and the page continues once it listens
 * - `stopped`: a shell runs it while no server runs
 * - `stream`: it never ends; its first event must arrive
 * - `node`, `browser`: it uses the TypeScript client, in Node or in a page of another origin, and records something
 * - `sqlite3`: it needs the command-line shell of SQLite
 * - `root`: it installs the server: it runs in a mount namespace, which leaves the machine as it was
 * - `installed`: the same, after the README's installation and the page's commands before it
 * - `apt`: it installs packages and changes the machine: no test runs it
 * - `release`: it needs a release: tests/slow/release.test.ts runs it
 * - `litestream`: tests/slow/litestream.test.ts runs it
 * - `sink`: it needs an engine that records are forwarded to: no test runs it as written
 * - `bucket`: it needs a bucket in S3: tests/slow/s3-backups.test.ts runs it
 * - `long`: tests/clients runs it
 * - `response`: the last output of the block before must have this shape
 * - `ci`: it needs a clone: .ci/run runs it (documents.test.ts checks that)
 */

const PYTHON = '/usr/bin/python3';
const hasRequests = Bun.spawnSync([PYTHON, '-c', 'import requests'], { stderr: 'ignore' }).exitCode === 0;
const hasSqlite = Bun.which('sqlite3') !== null;
const isRoot = canMount();
if (!hasRequests) console.warn('SKIPPED: the Python examples: "apt-get install python3-requests"');
if (!hasSqlite) console.warn('SKIPPED: the SQLite example: "apt-get install sqlite3"');
if (!isRoot) console.warn('SKIPPED: the installation: it needs root on Linux, and mounts');

/** The commands of the README that install the server. */
const INSTALLATION = readDocument('README.md').blocks.find(({ mode }) => mode === 'root')?.text ?? '';

/** Returns whether this machine lacks what a block needs. */
function isSkipped({ language, mode }: CodeBlock): boolean {
  if (mode === 'sqlite3') return !hasSqlite;
  if (mode === 'root' || mode === 'installed') return !isRoot;
  if (language === 'python') return !hasRequests;
  if (language === 'caddyfile') return missingProxies.includes('caddy');
  if (language === 'nginx') return missingProxies.includes('nginx');
  return false;
}

/** A reader's terminal: a folder with the binary, a server, and the variables set so far. */
class Session {
  readonly #folder = temporaryFolder();
  readonly #cleanUp: (() => unknown)[] = [];
  /** The reader's own web app. */
  readonly #app = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname.endsWith('.js')) return new Response(Bun.file(join(ROOT, 'client/dist', pathname)));
      return new Response('<p>app', { headers: { 'content-type': 'text/html' } });
    },
  });
  #server: Bun.Subprocess<'ignore', 'pipe', 'ignore'> | undefined;
  #origin = '';
  #lastOutput = '';
  /** The commands of the page that have run on the installed server: each run starts on a clean machine. */
  #installed = '';
  /** Whether the page starts its servers itself. */
  readonly #startsOwn: boolean;

  constructor({ blocks }: Document) {
    this.#startsOwn = blocks.some(({ mode }) => mode === 'background');
    const program = join(this.#folder.path, 'dist/rawlog');
    mkdirSync(dirname(program));
    writeFileSync(program, `#!/bin/sh\nexec ${COMMAND.map((word) => `'${word}'`).join(' ')} "$@"\n`);
    chmodSync(program, 0o755);
    // in a clone, this script runs any command from the sources
    const manifest = { scripts: { rawlog: 'dist/rawlog' } };
    writeFileSync(join(this.#folder.path, 'package.json'), JSON.stringify(manifest));
    mkdirSync(join(this.#folder.path, 'node_modules'));
    symlinkSync(join(ROOT, 'client'), join(this.#folder.path, 'node_modules/rawlog-client'));
  }

  async run(block: CodeBlock): Promise<void> {
    if (block.mode === 'background') return this.#startServer(block.text);
    if (block.mode === 'root') return this.#install(block.text);
    if (block.mode === 'installed') {
      this.#installed += block.text;
      return this.#install(INSTALLATION + this.#installed);
    }
    if (block.mode === 'response') return expectShape(JSON.parse(this.#lastOutput), JSON.parse(block.text));
    if (block.mode === 'stopped') await this.#stopServer();
    else if (this.#server === undefined && !this.#startsOwn) await this.#startServer('dist/rawlog serve');
    switch (block.language) {
      case 'sh':
        return block.mode === 'stream' ? this.#stream(block.text) : this.#shell(block.text);
      case 'js':
        return block.mode === '' ? this.#javascript(block.text) : this.#client(block);
      case 'python':
        await this.#spawn([PYTHON, '-c', this.#local(block.text)], {
          PYTHONPATH: join(ROOT, 'client/python'),
          PYTHONDONTWRITEBYTECODE: '1',
        });
        return;
      case 'caddyfile':
      case 'nginx':
        return this.#proxy(block.language === 'nginx' ? 'nginx' : 'caddy', block.text);
      default:
        throw new Error(`no test runs ${block.language} (${block.mode})`);
    }
  }

  async close(): Promise<void> {
    await this.#stopServer();
    await this.#app.stop(true);
    for (const cleanUp of this.#cleanUp.reverse()) await cleanUp();
    this.#folder[Symbol.dispose]();
  }

  /** Returns a text with the addresses and files of this session. */
  #local(text: string): string {
    return text
      .replaceAll('http://127.0.0.1:3000', this.#origin)
      .replaceAll('/etc/rawlog/jwt-secret', join(this.#folder.path, 'jwt-secret'))
      .replaceAll('/etc/rawlog/forward-url', join(this.#folder.path, 'forward-url'));
  }

  async #shell(text: string): Promise<void> {
    const variables = join(this.#folder.path, 'variables');
    const before = existsSync(variables) ? `. ${variables}; ` : '';
    this.#lastOutput = await this.#spawn([
      'bash',
      '-euo',
      'pipefail',
      '-c',
      `${before}${this.#local(text)}\nexport -p > ${variables}`,
    ]);
  }

  async #spawn(command: string[], env: Record<string, string> = {}): Promise<string> {
    const child = Bun.spawn(command, {
      cwd: this.#folder.path,
      env: { PATH: Bun.env['PATH'] ?? '', HOME: this.#folder.path, ...(await this.#variables()), ...env },
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const [stdout, stderr, exitCode] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect({ exitCode, ...(exitCode !== 0 && { stdout, stderr }) }).toEqual({ exitCode: 0 });
    return stdout.trim();
  }

  /** Returns the variables that the page has exported. */
  async #variables(): Promise<Record<string, string>> {
    const file = Bun.file(join(this.#folder.path, 'variables'));
    if (!(await file.exists())) return {};
    const names = ['TOKEN', 'ADMIN'];
    const matches = [...(await file.text()).matchAll(/^declare -x (\w+)="(.*)"$/gm)];
    return Object.fromEntries(
      matches.filter(([, name = '']) => names.includes(name)).map(([, name, value]) => [name, value]),
    );
  }

  async #startServer(command: string): Promise<void> {
    await this.#stopServer();
    writeFileSync(join(this.#folder.path, 'jwt-secret'), 'a-secret-of-the-examples-32-bytes', { mode: 0o600 });
    writeFileSync(join(this.#folder.path, 'forward-url'), 'nats://127.0.0.1:1/rawlog', { mode: 0o600 });
    const keys = startJwksServer();
    this.#cleanUp.push(() => keys.stop());
    const local = this.#local(command).replace('https://id.example.com/.well-known/jwks.json', keys.url);
    const server = Bun.spawn(['bash', '-c', local.replace('dist/rawlog', 'exec dist/rawlog')], {
      cwd: this.#folder.path,
      env: { PATH: Bun.env['PATH'] ?? '', PORT: '0', CORS_ORIGINS: this.#app.url.origin },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    });
    this.#server = server;
    this.#origin = await printedOrigin(server.stdout);
    expect((await fetch(`${this.#origin}/healthz`)).status).toBe(200);
  }

  async #stopServer(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.kill('SIGTERM');
    expect(await server.exited).toBe(0);
  }

  async #stream(text: string): Promise<void> {
    const child = Bun.spawn(['bash', '-c', `exec ${this.#local(text)}`], {
      env: { PATH: Bun.env['PATH'] ?? '', ...(await this.#variables()) },
      stdout: 'pipe',
      stderr: 'ignore',
    });
    let received = '';
    const decoder = new TextDecoder();
    for await (const bytes of child.stdout) {
      received += decoder.decode(bytes, { stream: true });
      if (received.includes('event: open')) break;
    }
    child.kill();
    expect(received).toContain('event: open');
  }

  /** Runs an example in Node, and where there is a browser, in a page of another origin. */
  async #javascript(text: string): Promise<void> {
    const { TOKEN = '' } = await this.#variables();
    const code = this.#local(text).replace(/^await fetch/m, 'const response = await fetch');
    const check = 'if (response.status !== 200) throw new Error(await response.text());';
    const script = `const token = ${JSON.stringify(TOKEN)};\n${code}\n${check}`;
    await this.#spawn(['node', '--input-type=module', '-e', script]);
    if (noBrowser) return;
    const browser = await startBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(this.#app.url.href);
      const status = await page.evaluate(`(async () => { ${script}; return response.status })()`);
      expect(status).toBe(200);
    } finally {
      await browser.close();
    }
  }

  /** Runs an example of the TypeScript client, which must record something. */
  async #client({ text, mode }: CodeBlock): Promise<void> {
    const code = this.#local(text);
    const before = await this.#countRecords();
    if (mode === 'node') await this.#spawn(['node', '--input-type=module', '-e', code]);
    else if (noBrowser) return;
    else {
      const imports = /^import (.*) from 'rawlog-client(.*)';$/gm;
      const script = code.replace(
        imports,
        (_, names, entry) => `const ${names} = await import('${entry || '/index'}.js');`,
      );
      const { TOKEN } = await this.#variables();
      const browser = await startBrowser();
      try {
        const page = await browser.newPage();
        await page.goto(this.#app.url.href);
        const fetchToken = `const fetchToken = async () => ${JSON.stringify(TOKEN)};`;
        await page.evaluate(`(async () => { ${fetchToken} ${script}; await client.flush() })()`);
      } finally {
        await browser.close();
      }
    }
    expect(await this.#countRecords()).toBeGreaterThan(before);
  }

  /** Returns how many metrics and events the user of the page has recorded. */
  async #countRecords(): Promise<number> {
    const { TOKEN } = await this.#variables();
    const lists = ['metrics', 'analytics'].map(async (kind) => {
      const response = await fetch(`${this.#origin}/api/${kind}`, { headers: { authorization: `Bearer ${TOKEN}` } });
      return JSON.stringify(await response.json()).matchAll(/"count":(\d+)/g);
    });
    const counts = (await Promise.all(lists)).flatMap((matches) => [...matches].map(([, count]) => Number(count)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #proxy(name: 'nginx' | 'caddy', text: string): Promise<void> {
    const proxy = await startProxy(name, this.#origin, { site: text });
    try {
      const response = await fetch(`${proxy.url}/healthz`, { tls: proxy.tls });
      expect({ status: response.status, hasId: response.headers.has('x-request-id') }).toEqual({
        status: 200,
        hasId: true,
      });
    } finally {
      await proxy.stop();
    }
  }

  /** Installs the server with overlays over the folders that the commands write to, and a minimal service manager. */
  async #install(text: string): Promise<void> {
    const bin = join(this.#folder.path, 'bin');
    mkdirSync(bin, { recursive: true });
    const sudo = `#!/bin/bash
if [ "$1" != -u ]; then exec "$@"; fi
user=$2
shift 2
exec setpriv --reuid "$user" --regid "$user" --clear-groups -- env -i "PATH=$PATH" "$@"
`;
    const systemctl = `#!/bin/bash
set -eu
case "$*" in
'enable --now rawlog' | 'start rawlog' | 'restart rawlog') ;;
'stop rawlog') exit ;;
*) exit 1 ;;
esac
unit=/etc/systemd/system/rawlog.service
if command -v systemd-analyze >/dev/null; then
  issues=$(systemd-analyze verify "$unit" 2>&1) && [ -z "$issues" ] || { echo "$issues" >&2; exit 1; }
fi
value() { sed -n "s/^$1=//p" "$unit"; }
user=$(value User)
install -d -m "$(value StateDirectoryMode)" -o "$user" "/var/lib/$(value StateDirectory)"
readarray -t settings < "$(value EnvironmentFile)"
output=$(mktemp)
setpriv --reuid "$user" --regid "$user" --clear-groups -- \\
  env -i "PATH=$PATH" "\${settings[@]}" PORT=0 $(value ExecStart) > "$output" 2>&1 &
server=$!
until grep -q 'rawlog is listening on' "$output"; do
  kill -0 "$server" || { cat "$output" >&2; exit 1; }
  sleep 0.1
done
kill -TERM "$server"
wait "$server"
cat "$output"
rm -f "$output"
`;
    for (const [name, script] of Object.entries({ sudo, systemctl })) {
      writeFileSync(join(bin, name), script);
      chmodSync(join(bin, name), 0o755);
    }
    const overlays = `set -euo pipefail
top=$(mktemp -d)
mount -t tmpfs tmpfs "$top"
for folder in /etc /usr/local /usr/share /var/lib; do
  mkdir -p "$top/upper$folder" "$top/work$folder"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$top/upper$folder,workdir=$top/work$folder" "$folder"
done
`;
    const output = await this.#spawn(['unshare', '--mount', 'bash', '-c', `${overlays}${text}`], {
      PATH: `${bin}:${Bun.env['PATH']}`,
      JWT_SECRET: 'a-secret-of-the-examples-32-bytes',
    });
    expect(output).toContain('rawlog is listening on');
    expect(output).not.toContain('generated a secret');
  }
}

/** Returns the first address that a server prints, and keeps reading what it prints after that. */
async function printedOrigin(output: ReadableStream<Uint8Array>): Promise<string> {
  const found = Promise.withResolvers<string>();
  const read = async () => {
    const decoder = new TextDecoder();
    let printed = '';
    for await (const bytes of output) {
      printed += decoder.decode(bytes, { stream: true });
      const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(printed)?.[0];
      if (origin !== undefined) found.resolve(origin);
    }
    found.reject(new Error(`the server ended before it listened: ${printed}`));
  };
  void read();
  return found.promise;
}

/** Expects a value to have the same keys, and the same kinds of values, as an example. */
function expectShape(value: unknown, example: unknown): void {
  if (Array.isArray(example)) {
    expect(value).toBeArray();
    if (example.length > 0) expectShape((value as unknown[])[0], example[0]);
  } else if (typeof example === 'object' && example !== null) {
    expect(Object.keys(value as object).sort()).toEqual(Object.keys(example).sort());
    for (const [key, one] of Object.entries(example)) expectShape((value as Record<string, unknown>)[key], one);
  } else if (value !== null && example !== null) {
    expect(typeof value).toBe(typeof example);
  }
}

/** A deployment installs the compiled program and starts servers again and again, which takes most of a minute. */
const SLOW_DOCUMENTS = new Set(TARGET === 'binary' ? [] : ['docs/deploy.md']);

for (const document of DOCUMENTS.filter(({ path }) => !SLOW_DOCUMENTS.has(path))) {
  const blocks = document.blocks.filter(
    ({ mode }) => !['ci', 'apt', 'release', 'litestream', 'bucket', 'sink', 'long'].includes(mode),
  );
  if (blocks.every(({ language }) => language === '')) continue;
  describe(document.path, () => {
    const session = new Session(document);
    afterAll(() => session.close());
    for (const block of blocks) {
      if (block.language === '') continue; // a drawing
      test.skipIf(isSkipped(block))(`${block.place} runs as written`, () => session.run(block));
    }
  });
}
