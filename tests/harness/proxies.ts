import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './target.ts';

/** Where Debian installs the proxies that tests put in front of the server. */
const PROGRAMS = { nginx: '/usr/sbin/nginx', caddy: '/usr/bin/caddy' } as const;
export type ProxyName = keyof typeof PROGRAMS;

/** The proxies that are not installed: tests with them are skipped. */
export const missingProxies = (Object.keys(PROGRAMS) as ProxyName[]).filter((name) => !existsSync(PROGRAMS[name]));
for (const name of missingProxies) console.warn(`SKIPPED: the tests behind ${name}: "apt-get install ${name}"`);

/** A running proxy. */
export interface ReverseProxy {
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts a proxy on a free port, with the configuration that its documentation has for an HTTP service, and waits
 * until it serves.
 *
 * @param upstream the server's URL
 * @param streamed for nginx: whether bodies are passed on as they arrive, and not once they are complete
 */
export async function startProxy(name: ProxyName, upstream: string, { streamed = false } = {}): Promise<ReverseProxy> {
  const folder = temporaryFolder();
  const port = freePort();
  const { host } = new URL(upstream);
  const path = join(folder.path, name === 'nginx' ? 'nginx.conf' : 'Caddyfile');
  await Bun.write(path, name === 'nginx' ? nginxConfig(folder.path, port, host, streamed) : caddyfile(port, host));
  const args = name === 'nginx' ? ['-e', 'stderr', '-c', path] : ['run', '--config', path];
  const child = Bun.spawn([PROGRAMS[name], ...args], {
    env: { HOME: folder.path },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const url = `http://127.0.0.1:${port}`;
  for (const deadline = Date.now() + 20_000; ; ) {
    const isUp = await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) break;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} does not serve`);
  }
  return {
    url,
    async stop() {
      child.kill('SIGKILL');
      await child.exited;
      folder[Symbol.dispose]();
    },
  };
}

/** nginx as a single process, without privileges, with all of its files in a folder. */
function nginxConfig(folder: string, port: number, host: string, streamed: boolean): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  return `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off; client_max_body_size 0; ${paths.join(' ')}
  upstream rawlog { server ${host}; keepalive 8; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://rawlog; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering ${streamed ? 'off' : 'on'}; proxy_buffering off;
    }
  }
}
`;
}

function caddyfile(port: number, host: string): string {
  return `{\n  admin off\n  auto_https off\n}\nhttp://127.0.0.1:${port} {\n  reverse_proxy ${host}\n}\n`;
}

/** A port that nothing listened on a moment ago. */
function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
