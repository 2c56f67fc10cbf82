import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ATTACKS, type Attack } from './hostile-clients.ts';
import { load, pauseForRate } from './load.ts';
import { leaveServerCore, pinToLoadCore } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printHeader, printTable } from './report.ts';
import { benchToken, type LoadedServer, startService } from './servers.ts';
import { median } from './statistics.ts';

/*
 * npm run bench:hostile -- [--rounds 9] [--seconds 3]
 *
 * Measures how much an attack slows down well-behaved clients: p99 latency at half of the peak rate during each of the
 * attacks in hostile-clients.ts, against p99 without the attack, alternately.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' } },
});
const token = await benchToken();
const options = { connections: 64, seconds: Number(values.seconds), token };
/** Rounds at peak load, to determine the peak rate. */
const PEAK_ROUNDS = 3;
// this process reads the service's log, which contains a line for every rejection
leaveServerCore();
printHeader('Hostile clients: latency of well-behaved clients during an attack, against without', 'both');

const service = await startService();
try {
  const peaks: number[] = [];
  await load(service, { ...options, seconds: 1 });
  for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(service, options)).rate);
  const pauseMs = await pauseForRate(service, options, median(peaks) / 2);
  const paced = { ...options, pauseMs };
  console.log(
    `Well-behaved clients: POST /log_raw_metric on ${options.connections} connections at half of the peak of ${median(peaks).toFixed(0)} requests per second, ${values.rounds} pairs of ${options.seconds} s\n`,
  );
  for (const attack of Object.keys(ATTACKS) as Attack[]) {
    const reports: string[] = [];
    const pairs = await measurePairs(
      Number(values.rounds),
      async () => {
        const [round, report] = await runDuring(attack, service, () => load(service, paced));
        reports.push(report);
        return round;
      },
      () => load(service, paced),
    );
    console.log(ATTACKS[attack]);
    printTable([
      ['median (min to max)', 'with attack', 'without', 'with / without'],
      comparisonRow('requests per second', pairs, 'rate', 0),
      comparisonRow('p99 latency, ms', pairs, 'p99'),
    ]);
    console.log(`  attack in the last round: ${reports.at(-1)}\n`);
  }
} finally {
  await service.target.stop();
}

/** Runs work during an attack. Returns its result and the report of the hostile clients. */
async function runDuring<T>(attack: Attack, { url }: LoadedServer, work: () => Promise<T>): Promise<[T, string]> {
  const script = join(import.meta.dir, 'hostile-clients.ts');
  const child = Bun.spawn(pinToLoadCore([process.execPath, script, attack, url, token]), {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const output = child.stdout.getReader();
  const next = async () => new TextDecoder().decode((await output.read()).value).trim();
  try {
    if ((await next()) !== 'ready') throw new Error(`the hostile clients did not start: ${attack}`);
    const result = await work();
    child.stdin.end();
    return [result, await next()];
  } finally {
    child.kill();
    await child.exited;
  }
}
