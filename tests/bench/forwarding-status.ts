import { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../src/records.ts';
import { readSinks } from '../../src/storage/sink-store.ts';
import { send } from '../harness/client.ts';
import type { Target } from '../harness/target.ts';
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

/**
 * Waits until the only sink of a server has all rows. Reads the positions in its database, because the lag in the status is
 * measured once per second.
 */
export async function delivered({ databasePath }: Pick<Target, 'databasePath'>): Promise<void> {
  using client = new Database(databasePath, { readonly: true });
  const newest = client.prepare<Record<Kind, number>, []>(
    `SELECT coalesce((SELECT max(seq) FROM metrics), 0) AS metric,
            coalesce((SELECT max(seq) FROM analytics), 0) AS analytics`,
  );
  await until(async () => {
    const [sink] = readSinks(client);
    const last = newest.get();
    return sink !== undefined && last !== null && KINDS.every((kind) => sink.cursors[kind] >= last[kind]);
  });
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (const began = performance.now(); !(await isDone()); await Bun.sleep(POLL_MS)) {
    if (performance.now() - began > CATCH_UP_MS) throw new Error('the server does not catch up');
  }
}
