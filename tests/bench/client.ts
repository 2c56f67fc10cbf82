import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { load } from './load.ts';
import { pinToLoadCore } from './machine.ts';
import { printHeader, printTable } from './report.ts';
import { benchToken, startService } from './servers.ts';
import { spread } from './statistics.ts';

/*
 * npm run build:client && npm run bench:client -- [--events 1000000] [--rounds 3] [--seconds 5]
 *
 * Measures how many metrics per second one process of Node or Bun stores with the TypeScript client, its peak memory and
 * its CPU time, alternating with wrk, which sends batches of 1,000 prepared metrics over 1 and over 5 connections. The
 * client sends one batch at a time, so one connection is its equal.
 */
const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
  },
});
const events = Number(values.events);
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const RUNTIMES = { Node: 'node', Bun: process.execPath };

interface Result {
  readonly seconds: number;
  readonly peakMegabytes: number;
  readonly cpuSeconds: number;
  readonly rejected: number;
}

printHeader('TypeScript client: metrics per second from one process, against batches from wrk', 'both');
const token = await benchToken();
const service = await startService();
const wrk = async (connections: number) =>
  (await load(service, { connections, rows: 1_000, seconds, token })).rate * 1_000;

const results: { name: string; result: Result; one: number; five: number }[] = [];
for (let round = 0; round < rounds; round++) {
  for (const [name, runtime] of Object.entries(RUNTIMES)) {
    const [one, result, five] = [await wrk(1), await send(runtime), await wrk(5)];
    results.push({ name, result, one, five });
  }
}
console.log(`${events} metrics per round, ${rounds} rounds; wrk: batches of 1,000 for ${seconds} s`);
printTable([
  [
    'median (min to max)',
    'metrics per second',
    '/ wrk, 1 connection',
    '/ wrk, 5 connections',
    'peak MB',
    'CPU per metric, µs',
  ],
  ...Object.keys(RUNTIMES).map((name) => {
    const own = results.filter((one) => one.name === name);
    const figure = (of: (one: (typeof own)[number]) => number, digits?: number) => spread(own.map(of), digits);
    const rate = ({ result }: (typeof own)[number]) => events / result.seconds;
    return [
      name,
      figure(rate, 0),
      figure((one) => rate(one) / one.one),
      figure((one) => rate(one) / one.five),
      figure(({ result }) => result.peakMegabytes, 0),
      figure(({ result }) => (result.cpuSeconds / events) * 1e6),
    ];
  }),
]);
await service.target.stop();

async function send(runtime: string): Promise<Result> {
  const script = join(import.meta.dir, 'client-load.js');
  const command = pinToLoadCore([runtime, script, service.url, token, String(events)]);
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' });
  const result = JSON.parse(await new Response(child.stdout).text()) as Result;
  if (result.rejected > 0) throw new Error(`${result.rejected} metrics were rejected`);
  return result;
}
