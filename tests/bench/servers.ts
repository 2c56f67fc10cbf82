import { join } from 'node:path';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { pinToServerCore } from './machine.ts';

/** A server under load. */
export interface LoadedServer {
  readonly url: string;
  readonly pid: number;
}

/**
 * Starts the service on the server's core with default settings, except for the rate limits: a single user sends the
 * whole load and must not reach them.
 *
 * @param dataDir a folder with a database. Default: an empty folder that is removed when the server stops
 * @param isPinned whether it runs on the server's core; otherwise it may use all cores, as in production
 * @param env further settings
 */
export async function startService(
  dataDir?: string,
  { isPinned = true, env = {} }: { isPinned?: boolean; env?: Readonly<Record<string, string>> } = {},
): Promise<LoadedServer & { target: Target }> {
  const target = await startTarget(
    { JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s', RATE_LIMIT_BYTES: '1000gb/s', ...env },
    { prefix: isPinned ? pinToServerCore([]) : [], ...(dataDir !== undefined && { dataDir }) },
  );
  return { url: target.url, pid: target.process.pid, target };
}

/** Starts the bare route (bare-route.ts) on the server's core. */
export async function startBareRoute(): Promise<LoadedServer & Disposable> {
  const child = Bun.spawn(pinToServerCore([process.execPath, join(import.meta.dir, 'bare-route.ts')]), {
    stdout: 'pipe',
  });
  const { value } = await child.stdout.getReader().read();
  const url = new TextDecoder().decode(value).trim().replace(/\/$/, '');
  return { url, pid: child.pid, [Symbol.dispose]: () => child.kill() };
}

/** Creates a token that is valid for longer than any benchmark runs. */
export function benchToken(): Promise<string> {
  return token({ exp: secondsFromNow(86_400) });
}
