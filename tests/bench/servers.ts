import { join } from 'node:path';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { onServerCore } from './machine.ts';

/** A server under load. */
export interface Loaded {
  readonly url: string;
  readonly pid: number;
}

/**
 * Starts the service on the server's core, with everything on that a default has on; the limit of rows
 * itself must not be met by the one user who loads.
 *
 * @param dataDir a folder with a database; without one, an empty folder that goes with the process
 */
export async function startService(dataDir?: string): Promise<Loaded & { target: Target }> {
  const target = await startTarget(
    { JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s' },
    { prefix: onServerCore([]), ...(dataDir !== undefined && { dataDir }) },
  );
  return { url: target.url, pid: target.process.pid, target };
}

/** Starts the bare route (bare-route.ts) on the server's core. */
export async function startBareRoute(): Promise<Loaded & Disposable> {
  const child = Bun.spawn(onServerCore([process.execPath, join(import.meta.dir, 'bare-route.ts')]), { stdout: 'pipe' });
  const { value } = await child.stdout.getReader().read();
  const url = new TextDecoder().decode(value).trim().replace(/\/$/, '');
  return { url, pid: child.pid, [Symbol.dispose]: () => child.kill() };
}

/** A token that outlasts every bench. */
export function benchToken(): Promise<string> {
  return token({ exp: secondsFromNow(86_400) });
}
