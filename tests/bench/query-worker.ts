import { send } from '../harness/client.ts';
import type { Target } from '../harness/target.ts';

/** Time that the smallest query takes while the query worker does nothing else, in milliseconds. */
const QUICK_MS = 50;
/** How many of these queries must be quick, one after another. */
const QUICK_QUERIES = 10;
const POLL_MS = 500;

/**
 * Waits until the query worker has applied all rows, and does nothing but queries: after many new rows, it merges chunks for
 * a while, between the queries.
 *
 * @param headers those of an admin
 */
export async function untilQuiet({ url }: Pick<Target, 'url'>, headers: Record<string, string>): Promise<void> {
  const lagRows = async () => (await send(`${url}/api/status`, { headers })).body.columns.lag_rows;
  while ((await lagRows()) > 0) await Bun.sleep(POLL_MS);
  const queryMs = async () => {
    const began = performance.now();
    await send(`${url}/api/records/metrics?limit=1`, { headers });
    return performance.now() - began;
  };
  for (let quick = 0; quick < QUICK_QUERIES; quick = (await queryMs()) < QUICK_MS ? quick + 1 : 0) {
    await Bun.sleep(POLL_MS);
  }
}
