import { median, spread } from './figures.ts';
import { timeFsyncs } from './fsync.ts';
import { load, pauseForRate } from './load.ts';
import { inPairs } from './pairs.ts';
import type { Loaded } from './servers.ts';

const CONNECTIONS = 64;
/** Rounds at the peak, to know what half of it is. */
const PEAK_ROUNDS = 3;

/**
 * Prints how long the service takes to answer when it is not at its limit: p99 at half of its peak,
 * against the bare route at the same rate, and the time of one fsync, which the bare route does not do.
 *
 * @param folder where the service's database is: the fsync is of a file on the same disk
 */
export async function measureLatency(
  service: Loaded,
  bare: Loaded,
  folder: string,
  { pairs: count, seconds, token }: { pairs: number; seconds: number; token: string },
): Promise<void> {
  const options = { connections: CONNECTIONS, seconds, token };
  const peaks: number[] = [];
  for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(service, options)).rate);
  const rate = median(peaks) / 2;
  const ourPause = await pauseForRate(service, options, rate);
  const theirPause = await pauseForRate(bare, options, rate);
  const pairs = await inPairs(
    count,
    () => load(service, { ...options, pause: ourPause }),
    () => load(bare, { ...options, pause: theirPause }),
  );
  const fsync = timeFsyncs(folder);
  const excess = pairs.map(([ours, theirs]) => ours.p99 - 2 * theirs.p99);
  const ours = pairs.map(([round]) => round);
  const theirs = pairs.map(([, round]) => round);
  const figures = (rounds: typeof ours) =>
    `p99 ${spread(rounds.map(({ p99 }) => p99))} ms, p50 ${spread(rounds.map(({ p50 }) => p50))} ms, at ${spread(
      rounds.map((round) => round.rate),
      0,
    )} a second`;
  console.log(
    `POST /log_raw_metric at half of the service's peak of ${median(peaks).toFixed(0)} a second, ${CONNECTIONS} connections, ${count} pairs of ${seconds} s`,
  );
  console.log(`  service            ${figures(ours)}`);
  console.log(`  bare route         ${figures(theirs)}`);
  console.log(`  p99, the ratio     ${spread(pairs.map(([our, their]) => our.p99 / their.p99))}`);
  console.log(`  p99 above twice the bare route's   ${spread(excess)} ms`);
  console.log(`  one write and fsync of 4 KB        median ${fsync.p50.toFixed(2)} ms, p99 ${fsync.p99.toFixed(2)} ms`);
}
