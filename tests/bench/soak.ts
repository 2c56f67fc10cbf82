import { Database } from 'bun:sqlite';
import { parseArgs } from 'node:util';
import { mean } from './figures.ts';
import { load } from './load.ts';
import { peakResidentMegabytes, residentMegabytes } from './machine.ts';
import { benchToken, startService } from './servers.ts';

/*
 * bun run bench:soak [--minutes 10] [--connections 64]
 *
 * Whether memory grows under a load that lasts: the server's resident memory every 30 s, and of the first
 * and the last minute the mean of what it was at each second.
 */
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, connections: { type: 'string', default: '64' } },
});
const seconds = Math.max(1, Math.round(Number(values.minutes) * 60));
const connections = Number(values.connections);
const PRINT_EVERY = 30;

const service = await startService();
const began = performance.now();
const samples: number[] = [];
const watch = setInterval(() => {
  samples.push(residentMegabytes(service.pid));
  if (samples.length % PRINT_EVERY === 0) {
    console.log(`  ${((performance.now() - began) / 1000).toFixed(0)} s  ${samples.at(-1)?.toFixed(0)} MB resident`);
  }
}, 1_000);

try {
  console.log(`POST /log_raw_metric, ${connections} connections, ${seconds} s`);
  const round = await load(service, { connections, seconds, token: await benchToken() });
  clearInterval(watch);
  const first = mean(samples.slice(0, 60));
  const last = mean(samples.slice(-60));
  const largest = peakResidentMegabytes(service.pid);
  console.log(
    `  first minute ${first.toFixed(0)} MB, last minute ${last.toFixed(0)} MB (${(last / first).toFixed(2)} of the first), largest ${largest.toFixed(0)} MB`,
  );
  console.log(
    `  ${rowsStored(service.target.databasePath)} rows stored, ${round.rate.toFixed(0)} a second; p99 ${round.p99.toFixed(2)} ms`,
  );
} finally {
  clearInterval(watch);
  await service.target.stop();
}

function rowsStored(path: string): number {
  using database = new Database(path, { readonly: true });
  return database.query<{ rows: number }, []>('SELECT count(*) AS rows FROM metrics').get()?.rows ?? 0;
}
