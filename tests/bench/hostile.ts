import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median, spread } from './figures.ts';
import { ATTACKS, type Attack } from './hostile-clients.ts';
import { load, pauseForRate, type Round } from './load.ts';
import { leaveServerCore, onLoadCore } from './machine.ts';
import { inPairs } from './pairs.ts';
import { benchToken, type Loaded, startService } from './servers.ts';

/*
 * bun run bench:hostile [--rounds 9] [--seconds 3]
 *
 * How much longer honest clients wait while others misuse the service: p99 at half of its peak with each
 * of the attacks in hostile-clients.ts, against p99 without, by turns.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' } },
});
const token = await benchToken();
const options = { connections: 64, seconds: Number(values.seconds), token };
/** Rounds at the peak, to know what half of it is. */
const PEAK_ROUNDS = 3;
// this process reads the service's log, which has a line for every refusal
leaveServerCore();

const service = await startService();
try {
  const peaks: number[] = [];
  await load(service, { ...options, seconds: 1 });
  for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(service, options)).rate);
  const pause = await pauseForRate(service, options, median(peaks) / 2);
  const paced = { ...options, pause };
  console.log(
    `honest clients: 64 connections at half of the peak of ${median(peaks).toFixed(0)} a second, ${values.rounds} rounds of ${options.seconds} s; with / without`,
  );
  for (const attack of Object.keys(ATTACKS) as Attack[]) {
    const reports: string[] = [];
    const pairs = await inPairs(
      Number(values.rounds),
      async () => {
        const [round, report] = await during(attack, service, () => load(service, paced));
        reports.push(report);
        return round;
      },
      () => load(service, paced),
    );
    const p99 = (rounds: Round[]) => spread(rounds.map((round) => round.p99));
    console.log(`  ${ATTACKS[attack]}`);
    console.log(
      `    p99              ${spread(pairs.map(([ours, theirs]) => ours.p99 / theirs.p99))}   with ${p99(pairs.map(([ours]) => ours))} ms, without ${p99(pairs.map(([, theirs]) => theirs))} ms`,
    );
    console.log(`    requests a second ${spread(pairs.map(([ours, theirs]) => ours.rate / theirs.rate))}`);
    console.log(`    in the last round ${reports.at(-1)}`);
  }
} finally {
  await service.target.stop();
}

/** Does something while hostile clients are at work; gives also what they report of themselves. */
async function during<T>(attack: Attack, { url }: Loaded, work: () => Promise<T>): Promise<[T, string]> {
  const script = join(import.meta.dir, 'hostile-clients.ts');
  const child = Bun.spawn(onLoadCore([process.execPath, script, attack, url, token]), {
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
