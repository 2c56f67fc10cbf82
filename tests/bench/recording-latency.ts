import { timeFsyncs } from './fsync.ts';
import { load, pauseForRate } from './load.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printTable } from './report.ts';
import type { LoadedServer } from './servers.ts';
import { median, spread } from './statistics.ts';

const CONNECTIONS = 64;
/** Rounds at peak load, to determine the peak rate. */
const PEAK_ROUNDS = 3;

/**
 * Prints the latency of the service below saturation: at half of its peak rate, against the bare route at the same
 * rate. Also prints the time of one fsync, which the bare route does not do.
 *
 * @param folder the folder of the service's database, so that the fsync is timed on the same disk
 */
export async function measureLatency(
  service: LoadedServer,
  bare: LoadedServer,
  folder: string,
  { pairs: count, seconds, token }: { pairs: number; seconds: number; token: string },
): Promise<void> {
  const options = { connections: CONNECTIONS, seconds, token };
  const peaks: number[] = [];
  for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(service, options)).rate);
  const rate = median(peaks) / 2;
  const ourPauseMs = await pauseForRate(service, options, rate);
  const theirPauseMs = await pauseForRate(bare, options, rate);
  const pairs = await measurePairs(
    count,
    () => load(service, { ...options, pauseMs: ourPauseMs }),
    () => load(bare, { ...options, pauseMs: theirPauseMs }),
  );
  const fsync = timeFsyncs(folder);
  const excess = pairs.map(([ours, theirs]) => ours.p99 - 2 * theirs.p99);
  console.log(
    `POST /log_raw_metric at half of rawlog's peak of ${median(peaks).toFixed(0)} requests per second: ${CONNECTIONS} connections, ${count} pairs of ${seconds} s`,
  );
  printTable([
    ['median (min to max)', 'rawlog', 'bare route', 'rawlog / bare route'],
    comparisonRow('requests per second', pairs, 'rate', 0),
    comparisonRow('p50 latency, ms', pairs, 'p50'),
    comparisonRow('p99 latency, ms', pairs, 'p99'),
  ]);
  console.log(`  p99 of rawlog minus twice the p99 of the bare route: ${spread(excess)} ms`);
  console.log(
    `  one 4 KB write and fdatasync on the same disk: p50 ${fsync.p50.toFixed(2)} ms, p99 ${fsync.p99.toFixed(2)} ms`,
  );
}
