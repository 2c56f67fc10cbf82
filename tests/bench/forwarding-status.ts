import { send } from '../harness/client.ts';
import type { LoadedServer } from './servers.ts';

const POLL_MS = 100;
/** How long a server may take, in milliseconds. */
const CATCH_UP_MS = 1_800_000;

/** The lag of a sink. */
export interface SinkLag {
  readonly rows: number;
  readonly seconds: number;
}

async function statusOf({ url }: Pick<LoadedServer, 'url'>, token: string) {
  const { status, body, text } = await send(`${url}/api/status`, { headers: { authorization: `Bearer ${token}` } });
  if (status !== 200) throw new Error(text);
  return body;
}

/** Returns the lag of the only sink of a server; undefined while the server does not report one. */
export async function sinkLag(server: Pick<LoadedServer, 'url'>, token: string): Promise<SinkLag | undefined> {
  const [sink] = (await statusOf(server, token)).sinks ?? [];
  return sink && { rows: sink.lag_rows, seconds: sink.lag_seconds };
}

/** Waits until a server's column store has all rows. */
export async function caughtUp(server: Pick<LoadedServer, 'url'>, token: string): Promise<void> {
  await until(async () => (await statusOf(server, token)).columns.lag_rows === 0);
}

/** Waits until the only sink of a server has all rows. */
export async function delivered(server: Pick<LoadedServer, 'url'>, token: string): Promise<void> {
  await until(async () => (await sinkLag(server, token))?.rows === 0);
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (const began = performance.now(); !(await isDone()); await Bun.sleep(POLL_MS)) {
    if (performance.now() - began > CATCH_UP_MS) throw new Error('the server does not catch up');
  }
}
