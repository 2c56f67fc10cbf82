import { Database } from 'bun:sqlite';
import { parseArgs } from 'node:util';
import { load } from './load.ts';
import { peakResidentMegabytes, residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';
import { benchToken, startService } from './servers.ts';
import { mean } from './statistics.ts';

/*
 * npm run bench:soak -- [--minutes 10] [--connections 64]
 *
 * Measures whether memory grows under sustained load. Prints the server's resident memory every 30 s, and its mean over
 * the first and the last minute, sampled once per second.
 */
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, connections: { type: 'string', default: '64' } },
});
const seconds = Math.max(1, Math.round(Number(values.minutes) * 60));
const connections = Number(values.connections);
/** Seconds between two printed samples. */
const PRINT_INTERVAL = 30;

printHeader('Soak: resident memory under sustained peak load, first minute against last', 'both');

const service = await startService();
const began = performance.now();
const samples: number[] = [];
const sampling = setInterval(() => {
  samples.push(residentMegabytes(service.pid));
  if (samples.length % PRINT_INTERVAL === 0) {
    console.log(
      `  ${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${samples.at(-1)?.toFixed(0)} MB resident`,
    );
  }
}, 1_000);

try {
  console.log(`POST /log_raw_metric: ${connections} connections, ${seconds} s`);
  const round = await load(service, { connections, seconds, token: await benchToken() });
  clearInterval(sampling);
  const first = mean(samples.slice(0, 60));
  const last = mean(samples.slice(-60));
  const peak = peakResidentMegabytes(service.pid);
  console.log(
    `  resident memory: mean of the first minute ${first.toFixed(0)} MB, of the last minute ${last.toFixed(0)} MB (last / first ${(last / first).toFixed(2)}), peak ${peak.toFixed(0)} MB`,
  );
  console.log(
    `  ${countRows(service.target.databasePath)} rows stored; ${round.rate.toFixed(0)} requests per second, p99 latency ${round.p99.toFixed(2)} ms`,
  );
} finally {
  clearInterval(sampling);
  await service.target.stop();
}

function countRows(path: string): number {
  using database = new Database(path, { readonly: true });
  return database.query<{ rows: number }, []>('SELECT count(*) AS rows FROM metrics').get()?.rows ?? 0;
}
