import { spread } from './figures.ts';
import { load, type Round } from './load.ts';
import { inPairs } from './pairs.ts';
import type { Loaded } from './servers.ts';

/** Prints what single metrics cost the service, against the bare route: both at their peak. */
export async function measureRequests(
  service: Loaded,
  bare: Loaded,
  { pairs: count, ...options }: { pairs: number; connections: number; seconds: number; token: string },
): Promise<void> {
  await load(bare, { ...options, seconds: 1 });
  await load(service, { ...options, seconds: 1 });
  const pairs = await inPairs(
    count,
    () => load(service, options),
    () => load(bare, options),
  );
  const ratio = (figure: keyof Round) => spread(pairs.map(([ours, theirs]) => ours[figure] / theirs[figure]));
  const ours = (figure: keyof Round, digits?: number) =>
    spread(
      pairs.map(([round]) => round[figure]),
      digits,
    );
  console.log(
    `POST /log_raw_metric, ${options.connections} connections, ${count} pairs of ${options.seconds} s; service / bare route`,
  );
  console.log(`  requests a second  ${ratio('rate')}   service ${ours('rate', 0)}`);
  console.log(`  p50                ${ratio('p50')}   service ${ours('p50')} ms`);
  console.log(`  p99                ${ratio('p99')}   service ${ours('p99')} ms`);
  console.log(`  CPU a request      ${ratio('cpu')}   service ${ours('cpu', 1)} µs; wrk ${ours('loadCpu', 1)} µs`);
}
