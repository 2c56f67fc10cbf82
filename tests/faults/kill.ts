import { parseArgs } from 'node:util';
import { METRIC, post, rows } from '../harness/client.ts';
import { startTarget, TARGET, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * RAWLOG_TARGET=binary bun run faults:kill [--kills 100]
 *
 * Kills a server under load at random moments, while clients repeat every request under its
 * Idempotency-Key until it is answered: each row must be there exactly once, under the id that was
 * answered.
 */

export interface Kills {
  readonly kills: number;
  readonly acknowledged: number;
  /** Acknowledged ids that are not stored. */
  readonly lost: number;
  /** Rows of a request beyond its first. */
  readonly doubled: number;
}

export async function killUnderLoad(kills: number): Promise<Kills> {
  using folder = temporaryFolder();
  const start = () => startTarget(UNLIMITED, { dataDir: folder.path });
  let target: Target = await start();
  let running = true;
  const answered = new Map<string, string>();

  const client = async (name: string) => {
    for (let n = 0; running; n++) {
      const label = `${name}-${n}`;
      while (!answered.has(label)) {
        const response = await post(
          target,
          '/log_raw_metric',
          { ...METRIC, data_string: label },
          { 'idempotency-key': label },
        ).catch(() => undefined);
        if (response?.status === 200) answered.set(label, response.body);
      }
    }
  };
  const clients = Array.from({ length: 16 }, (_, i) => client(`client-${i}`));
  for (let kill = 0; kill < kills; kill++) {
    const until = answered.size + 1 + Math.floor(Math.random() * 300);
    while (answered.size < until) await new Promise(setImmediate);
    await target.stop('SIGKILL');
    target = await start();
  }
  running = false;
  await Promise.all(clients);
  await target.stop();

  const stored = rows(target, 'metrics');
  const ids = new Set(stored.map((row) => row['id']));
  return {
    kills,
    acknowledged: answered.size,
    lost: [...answered.values()].filter((id) => !ids.has(id)).length,
    doubled: stored.length - new Set(stored.map((row) => row['data_string'])).size,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: 'string', default: '100' } } });
  const { kills, acknowledged, lost, doubled } = await killUnderLoad(Number(values.kills));
  console.log(
    `${TARGET}: ${kills} kills, ${acknowledged} requests acknowledged, ${lost} rows lost, ${doubled} doubled`,
  );
  process.exit(lost + doubled > 0 ? 1 : 0);
}
