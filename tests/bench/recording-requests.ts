import { load } from './load.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printTable } from './report.ts';
import type { LoadedServer } from './servers.ts';

/** Prints the cost of recording single metrics at peak load, against the bare route. */
export async function measureRequests(
  service: LoadedServer,
  bare: LoadedServer,
  { pairs: count, ...options }: { pairs: number; connections: number; seconds: number; token: string },
): Promise<void> {
  await load(bare, { ...options, seconds: 1 });
  await load(service, { ...options, seconds: 1 });
  const pairs = await measurePairs(
    count,
    () => load(service, options),
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
    comparisonRow('wrk CPU per request, µs', pairs, 'loadCpuUs', 1),
  ]);
  console.log();
}
