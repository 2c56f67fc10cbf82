import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './target.ts';

/** Paths of the reverse proxies on Debian. */
const PROGRAMS = { nginx: '/usr/sbin/nginx', caddy: '/usr/bin/caddy' } as const;
export type ProxyName = keyof typeof PROGRAMS;

/** Proxies that are not installed; tests with them are skipped. */
export const missingProxies = (Object.keys(PROGRAMS) as ProxyName[]).filter((name) => !existsSync(PROGRAMS[name]));
for (const name of missingProxies) console.warn(`SKIPPED: tests with ${name}; run "apt-get install ${name}"`);

/** A running proxy. */
export interface ReverseProxy {
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts a proxy on a free port, configured as its documentation shows for an HTTP service, and waits until it
 * responds.
 *
 * @param upstream the server's URL
 * @param streamed for nginx: whether to forward bodies as they arrive instead of buffering them
 */
export async function startProxy(
  name: ProxyName,
  upstream: string,
  { streamed = false, site }: { streamed?: boolean; site?: string } = {},
): Promise<ReverseProxy> {
  const folder = temporaryFolder();
  const port = freePort();
  const { host } = new URL(upstream);
  const path = join(folder.path, name === 'nginx' ? 'nginx.conf' : 'Caddyfile');
  await Bun.write(
    path,
    name === 'nginx'
      ? nginxConfig(folder.path, port, host, site ?? nginxLocation(streamed))
      : caddyfile(port, site ?? `log.example.com {\n  reverse_proxy ${host}\n}`),
  );
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
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} did not start`);
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

/** Returns a configuration for nginx as a single unprivileged process that keeps all files in one folder. */
function nginxConfig(folder: string, port: number, host: string, location: string): string {
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
    ${location}
  }
}
`;
}

/**
 * Returns the location that passes requests on.
 *
 * @param streamed whether bodies are passed on as they arrive, and not once they are complete
 */
function nginxLocation(streamed: boolean): string {
  return `location / {
      proxy_pass http://rawlog; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering ${streamed ? 'off' : 'on'}; proxy_buffering off;
    }`;
}

function caddyfile(port: number, site: string): string {
  return `{\n  admin off\n  auto_https off\n}\n${site.replace('log.example.com', `http://127.0.0.1:${port}`)}\n`;
}

/** Returns a port that was free a moment ago. */
function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
