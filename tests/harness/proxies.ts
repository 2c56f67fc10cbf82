import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
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
  /** How to trust its certificate: for `fetch`. Empty without TLS. */
  readonly tls: { readonly ca?: string };
  stop(): Promise<void>;
}

/** Options of {@link startProxy}. */
export interface ProxyOptions {
  /** For nginx without a site: whether to forward bodies as they arrive instead of buffering them. */
  readonly streamed?: boolean;
  /** The documented configuration of the host log.example.com with TLS. Default: a minimal one, without TLS. */
  readonly site?: string;
}

/**
 * Starts a proxy on a free port and waits until it responds.
 *
 * @param upstream the server's URL
 */
export async function startProxy(
  name: ProxyName,
  upstream: string,
  { streamed = false, site }: ProxyOptions = {},
): Promise<ReverseProxy> {
  const folder = temporaryFolder();
  const port = freePort();
  const { host } = new URL(upstream);
  const path = join(folder.path, name === 'nginx' ? 'nginx.conf' : 'Caddyfile');
  const tls = site === undefined ? {} : { ca: createCertificate(folder.path) };
  const local = site && localSite(site, { port, host, folder: folder.path });
  await Bun.write(
    path,
    name === 'nginx'
      ? nginxConfig(folder.path, local ?? nginxSite(port, host, streamed))
      : `{\n  admin off\n  auto_https off\n}\n${local ?? `http://127.0.0.1:${port} {\n  reverse_proxy ${host}\n}`}\n`,
  );
  const args = name === 'nginx' ? ['-e', 'stderr', '-c', path] : ['run', '--config', path];
  const child = Bun.spawn([PROGRAMS[name], ...args], {
    env: { HOME: folder.path },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const url = `${site === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  for (const deadline = Date.now() + 20_000; ; ) {
    const isUp = await fetch(`${url}/healthz`, { tls }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) break;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} did not start`);
  }
  return {
    url,
    tls,
    async stop() {
      child.kill('SIGKILL');
      await child.exited;
      folder[Symbol.dispose]();
    },
  };
}

/** Creates a key and a certificate for 127.0.0.1 in a folder, as key.pem and cert.pem; returns the certificate. */
function createCertificate(folder: string): string {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${folder}/key.pem`];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const { success } = Bun.spawnSync(['openssl', 'req', '-x509', ...key, ...names, '-out', `${folder}/cert.pem`], {
    stderr: 'ignore',
  });
  if (!success) throw new Error('openssl cannot create a certificate');
  return readFileSync(`${folder}/cert.pem`, 'utf8');
}

/** Returns a documented configuration with the addresses and files of a test. */
function localSite(site: string, { port, host, folder }: { port: number; host: string; folder: string }): string {
  const files = { key: `${folder}/key.pem`, certificate: `${folder}/cert.pem` };
  return site
    .replaceAll('127.0.0.1:3000', host)
    .replace(/^ *listen \[::\].*\n/gm, '')
    .replace('listen 80;', `listen 127.0.0.1:${freePort()};`)
    .replace('listen 443 ', `listen 127.0.0.1:${port} `)
    .replace(/ssl_certificate .*;/, `ssl_certificate ${files.certificate};`)
    .replace(/ssl_certificate_key .*;/, `ssl_certificate_key ${files.key};`)
    .replace(/^log.example.com \{/m, `https://127.0.0.1:${port} {\n  tls ${files.certificate} ${files.key}`);
}

/** Returns a configuration for nginx as a single unprivileged process that keeps all files in one folder. */
function nginxConfig(folder: string, site: string): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  return `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off; ${paths.join(' ')}
  ${site}
}
`;
}

/**
 * Returns a minimal configuration that passes all requests on.
 *
 * @param streamed whether bodies are passed on as they arrive, and not once they are complete
 */
function nginxSite(port: number, host: string, streamed: boolean): string {
  return `upstream rawlog { server ${host}; keepalive 8; }
  server {
    listen 127.0.0.1:${port}; client_max_body_size 0;
    location / {
      proxy_pass http://rawlog; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering ${streamed ? 'off' : 'on'}; proxy_buffering off;
    }
  }`;
}
