import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/target.ts';
import { load } from './load.ts';
import { pinToServerCore } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { printHeader, printTable } from './report.ts';
import { benchToken, type LoadedServer, startService } from './servers.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:receivers -- [--receivers 2] [--connections 256] [--pairs 5] [--seconds 3]
 *
 * A trial: would threads that receive requests, in front of one thread that writes, let rawlog use more cores? Measures the
 * CPU time per request of the thread that all requests pass through: rawlog's main thread, and the writer of the trial
 * (receiver-writer.ts). Receivers of the trial parse, validate and verify, but have no limits, idempotency or ledger of rejections.
 */
const { values } = parseArgs({
  options: {
    receivers: { type: 'string', default: '2' },
    connections: { type: 'string', default: '256' },
    pairs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
  },
});

printHeader('A trial of receiving threads in front of one writer', 'both');
using folder = temporaryFolder();
await using trial = await startTrial(folder.path, values.receivers);
const service = await startService();
const options = { connections: Number(values.connections), seconds: Number(values.seconds), token: await benchToken() };
try {
  for (const server of [service, trial]) await load(server, { ...options, seconds: 1 });
  const pairs = await measurePairs(
    Number(values.pairs),
    () => measure(service),
    () => measure(trial),
  );
  const column = (figure: (round: (typeof pairs)[number][0]) => number, digits: number) => [
    spread(
      pairs.map(([ours]) => figure(ours)),
      digits,
    ),
    spread(
      pairs.map(([, theirs]) => figure(theirs)),
      digits,
    ),
    spread(pairs.map(([ours, theirs]) => figure(ours) / figure(theirs))),
  ];
  printTable([
    ['median (min to max)', 'rawlog', `writer and ${values.receivers} receivers`, 'rawlog / trial'],
    ['CPU time of the busiest thread per request, µs', ...column(({ threadUs }) => threadUs, 1)],
    ['CPU time of the process per request, µs', ...column(({ cpuUs }) => cpuUs, 1)],
    ['requests per second, all on one core', ...column(({ rate }) => rate, 0)],
  ]);
} finally {
  await service.target.stop();
}

/** Loads a server. Also returns the CPU time of its main thread per request, in microseconds. */
async function measure(server: LoadedServer) {
  const before = mainThreadSeconds(server.pid);
  const round = await load(server, options);
  const seconds = mainThreadSeconds(server.pid) - before;
  return { ...round, threadUs: (1e6 * seconds) / (round.rate * options.seconds) };
}

/** Returns how long the main thread of a process has run, in seconds. */
function mainThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
}

async function startTrial(path: string, receivers: string): Promise<LoadedServer & AsyncDisposable> {
  const port = await freePort();
  const script = join(import.meta.dir, 'receiver-writer.ts');
  const child = Bun.spawn(pinToServerCore([process.execPath, script, path, receivers]), {
    env: { ...Bun.env, TRIAL_PORT: String(port) },
    stdout: 'pipe',
  });
  await child.stdout.getReader().read();
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

/** Returns a port that is free now: receivers share one, so the system cannot choose it. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
