import { join } from 'node:path';
import { temporaryFolder } from '../harness/target.ts';
import { spread } from './figures.ts';
import { load } from './load.ts';
import { onServerCore } from './machine.ts';
import { inPairs } from './pairs.ts';
import type { Loaded } from './servers.ts';

/** Metrics of a batch, the most that a default takes, and of a transaction of the bare loop. */
const ROWS = 1_000;
/** Twice so many batches are fewer rows than may wait for their commit: those that a round leaves behind may still do. */
const CONNECTIONS = 5;

/** Prints how many rows a second the service stores from batches, against bare inserts (bare-inserts.ts). */
export async function measureBatches(
  service: Loaded,
  { pairs: count, seconds, token }: { pairs: number; seconds: number; token: string },
): Promise<void> {
  const options = { connections: CONNECTIONS, rows: ROWS, seconds, token };
  await load(service, { ...options, seconds: 1 });
  const pairs = await inPairs(
    count,
    async () => {
      const round = await load(service, options);
      return { rate: round.rate * ROWS, cpu: round.cpu / ROWS };
    },
    () => bareInserts(seconds),
  );
  const ratio = spread(pairs.map(([ours, theirs]) => ours.rate / theirs));
  const rate = spread(
    pairs.map(([ours]) => ours.rate),
    0,
  );
  const bareRate = spread(
    pairs.map(([, theirs]) => theirs),
    0,
  );
  console.log(
    `POST /log_batch of ${ROWS} metrics, ${CONNECTIONS} connections, ${count} pairs of ${seconds} s; service / bare inserts`,
  );
  console.log(`  rows a second      ${ratio}   service ${rate}, bare ${bareRate}`);
  console.log(`  CPU a row          service ${spread(pairs.map(([ours]) => ours.cpu))} µs`);
}

/** Rows a second of the bare loop, in a process and a folder of its own. */
async function bareInserts(seconds: number): Promise<number> {
  using folder = temporaryFolder();
  const script = join(import.meta.dir, 'bare-inserts.ts');
  const child = Bun.spawn(onServerCore([process.execPath, script, folder.path, String(seconds), String(ROWS)]), {
    stdout: 'pipe',
  });
  return Number(await new Response(child.stdout).text());
}
