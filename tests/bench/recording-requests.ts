import { timeFsyncs } from './fsync.ts';
import { load } from './load.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printTable } from './report.ts';
import type { LoadedServer } from './servers.ts';
import { spread } from './statistics.ts';

/**
 * Prints the cost of recording single metrics at peak load, against the bare route, by rate and by CPU time. Also prints
 * the rate that the disk and the CPU allow: all connections share one fsync, and their requests are handled before it.
 *
 * @param folder the folder of the service's database, so that the fsync is timed on the same disk
 */
export async function measureRequests(
  service: LoadedServer,
  bare: LoadedServer,
  folder: string,
  { pairs: count, ...options }: { pairs: number; connections: number; seconds: number; token: string },
): Promise<void> {
  await load(bare, { ...options, seconds: 1 });
  await load(service, { ...options, seconds: 1 });
  const fsyncMs: number[] = [];
  const pairs = await measurePairs(
    count,
    () => {
      fsyncMs.push(timeFsyncs(folder).p50);
      return load(service, options);
    },
    () => load(bare, options),
  );
  console.log(
    `POST /log_raw_metric at peak: ${options.connections} connections, ${count} pairs of ${options.seconds} s`,
  );
  printTable([
    ['median (min to max)', 'rawlog', 'bare route', 'rawlog / bare route'],
    comparisonRow('requests per second', pairs, 'rate', 0),
    comparisonRow('p50 latency, ms', pairs, 'p50'),
    comparisonRow('p99 latency, ms', pairs, 'p99'),
    comparisonRow('server CPU per request, µs', pairs, 'cpuUs', 1),
    ['the inverse: rate by CPU time', '', '', spread(pairs.map(([ours, theirs]) => theirs.cpuUs / ours.cpuUs))],
    comparisonRow('wrk CPU per request, µs', pairs, 'loadCpuUs', 1),
  ]);
  const { connections } = options;
  const allowed = pairs.map(([{ cpuUs }], i) => connections / ((fsyncMs[i] ?? 0) / 1e3 + (connections * cpuUs) / 1e6));
  console.log(
    `  connections / (fsync + their CPU time): ${spread(allowed, 0)} per second with an fsync of ${spread(fsyncMs)} ms`,
  );
  console.log(`  rawlog's rate against that: ${spread(pairs.map(([{ rate }], i) => rate / (allowed[i] ?? 0)))}`);
  console.log();
}
