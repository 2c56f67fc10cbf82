import { join } from 'node:path';
import { temporaryFolder } from '../harness/target.ts';
import { load } from './load.ts';
import { pinToServerCore } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { printTable } from './report.ts';
import type { LoadedServer } from './servers.ts';
import { spread } from './statistics.ts';

/** Metrics per batch (the default maximum), and rows per transaction of the bare insert loop. */
const ROWS = 1_000;
/**
 * Twice this many batches still fit into the commit queue: batches left over from a round may be queued when the
 * next one begins.
 */
const CONNECTIONS = 5;

/** Prints how many rows per second the service stores from batches, against the bare insert loop (bare-inserts.ts). */
export async function measureBatches(
  service: LoadedServer,
  { pairs: count, seconds, token }: { pairs: number; seconds: number; token: string },
): Promise<void> {
  const options = { connections: CONNECTIONS, rows: ROWS, seconds, token };
  await load(service, { ...options, seconds: 1 });
  const pairs = await measurePairs(
    count,
    async () => {
      const round = await load(service, options);
      return { rate: round.rate * ROWS, cpuUs: round.cpuUs / ROWS };
    },
    () => measureBareInserts(seconds),
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
    `POST /log_batch: ${ROWS} metrics per batch, ${CONNECTIONS} connections, ${count} pairs of ${seconds} s; bare inserts: ${ROWS} rows per transaction`,
  );
  printTable([
    ['median (min to max)', 'rawlog', 'bare inserts', 'rawlog / bare inserts'],
    ['rows per second', rate, bareRate, ratio],
    ['server CPU per row, µs', spread(pairs.map(([ours]) => ours.cpuUs)), '-', '-'],
  ]);
  console.log();
}

/** Measures the rows per second of the bare insert loop, in its own process and folder. */
async function measureBareInserts(seconds: number): Promise<number> {
  using folder = temporaryFolder();
  const script = join(import.meta.dir, 'bare-inserts.ts');
  const child = Bun.spawn(pinToServerCore([process.execPath, script, folder.path, String(seconds), String(ROWS)]), {
    stdout: 'pipe',
  });
  return Number(await new Response(child.stdout).text());
}
