import { parseArgs } from 'node:util';
import { METRIC, post, rows } from '../harness/client.ts';
import { startTarget, TARGET, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:kill -- [--kills 100]
 *
 * Kills a server under load (SIGKILL) at random moments, while clients retry each request with the same Idempotency-Key
 * until it is acknowledged. Each row must then be stored exactly once, under the acknowledged ID.
 */

/** The result of {@link killUnderLoad}. */
export interface KillReport {
  readonly kills: number;
  readonly acknowledged: number;
  /** Acknowledged IDs that are not stored. */
  readonly lost: number;
  /** Rows stored more than once. */
  readonly duplicates: number;
}

/** Kills and restarts a server under load, again and again, and counts lost and duplicate rows. */
export async function killUnderLoad(kills: number): Promise<KillReport> {
  using folder = temporaryFolder();
  const start = () => startTarget(UNLIMITED, { dataDir: folder.path });
  let target: Target = await start();
  let isRunning = true;
  const acknowledged = new Map<string, string>();

  const client = async (name: string) => {
    for (let n = 0; isRunning; n++) {
      const label = `${name}-${n}`;
      while (!acknowledged.has(label)) {
        const response = await post(
          target,
          '/log_raw_metric',
          { ...METRIC, data_string: label },
          { 'idempotency-key': label },
        ).catch(() => undefined);
        if (response?.status === 200) acknowledged.set(label, response.body);
      }
    }
  };
  const clients = Array.from({ length: 16 }, (_, i) => client(`client-${i}`));
  for (let kill = 0; kill < kills; kill++) {
    const goal = acknowledged.size + 1 + Math.floor(Math.random() * 300);
    while (acknowledged.size < goal) await new Promise(setImmediate);
    await target.stop('SIGKILL');
    target = await start();
  }
  isRunning = false;
  await Promise.all(clients);
  await target.stop();

  const stored = rows(target, 'metrics');
  const ids = new Set(stored.map((row) => row['id']));
  return {
    kills,
    acknowledged: acknowledged.size,
    lost: [...acknowledged.values()].filter((id) => !ids.has(id)).length,
    duplicates: stored.length - new Set(stored.map((row) => row['data_string'])).size,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: 'string', default: '100' } } });
  const { kills, acknowledged, lost, duplicates } = await killUnderLoad(Number(values.kills));
  console.log(
    `${TARGET}: ${kills} kills, ${acknowledged} requests acknowledged, ${lost} rows lost, ${duplicates} rows duplicated`,
  );
  process.exit(lost + duplicates > 0 ? 1 : 0);
}
