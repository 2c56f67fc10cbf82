import { parseArgs } from 'node:util';
import { type Load, load } from './load.ts';
import { threadsSeconds } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { printHeader, printTable } from './report.ts';
import { benchToken, type LoadedServer, startService } from './servers.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:receivers -- [--receivers 2] [--connections 256] [--pairs 5] [--seconds 3] [--rows 0]
 *
 * How much does RECEIVERS relieve the busiest thread? Measures the CPU time per request of each thread, with RECEIVERS=1 and
 * with more, alternately. All threads of both servers run on one core, so the rates only show what the threads take together;
 * with enough cores, the busiest thread limits the rate.
 */
const { values } = parseArgs({
  options: {
    receivers: { type: 'string', default: '2' },
    connections: { type: 'string', default: '256' },
    pairs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    rows: { type: 'string', default: '0' },
  },
});

printHeader('Receiving threads in front of the main thread', 'both');
const one = await startService(undefined, { env: { RECEIVERS: '1' } });
const more = await startService(undefined, { env: { RECEIVERS: values.receivers } });
const options: Load = {
  connections: Number(values.connections),
  seconds: Number(values.seconds),
  rows: Number(values.rows),
  token: await benchToken(),
};
try {
  for (const server of [one, more]) await load(server, { ...options, seconds: 1 });
  const pairs = await measurePairs(
    Number(values.pairs),
    () => measure(one),
    () => measure(more),
  );
  const row = (title: string, figure: (round: Measured) => number, digits: number) => [
    title,
    spread(
      pairs.map(([first]) => figure(first)),
      digits,
    ),
    spread(
      pairs.map(([, second]) => figure(second)),
      digits,
    ),
    spread(pairs.map(([first, second]) => figure(first) / figure(second))),
  ];
  printTable([
    ['median (min to max)', 'RECEIVERS=1', `RECEIVERS=${values.receivers}`, 'ratio'],
    row('CPU time of the busiest thread per request, µs', ({ busiestUs }) => busiestUs, 1),
    row('CPU time of the main thread per request, µs', ({ mainCpuUs }) => mainCpuUs, 1),
    row('CPU time of the second busiest thread per request, µs', ({ secondUs }) => secondUs, 1),
    row('CPU time of the process per request, µs', ({ cpuUs }) => cpuUs, 1),
    row('requests per second, all threads on one core', ({ rate }) => rate, 0),
    row('p99 latency, ms', ({ p99 }) => p99, 1),
  ]);
} finally {
  await one.target.stop();
  await more.target.stop();
}

type Measured = Awaited<ReturnType<typeof measure>>;

/** Loads a server. Also returns the CPU time of its two busiest threads per request, in microseconds. */
async function measure(server: LoadedServer) {
  const before = threadsSeconds(server.pid);
  const round = await load(server, options);
  const requests = round.rate * options.seconds;
  const [busiest = 0, second = 0] = [...threadsSeconds(server.pid)]
    .map(([thread, seconds]) => seconds - (before.get(thread) ?? 0))
    .sort((a, b) => b - a);
  return { ...round, busiestUs: (1e6 * busiest) / requests, secondUs: (1e6 * second) / requests };
}
