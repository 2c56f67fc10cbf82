import { parseArgs } from 'node:util';
import { SECRET, startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { load, onServerCore, type Round, spread } from './load.ts';

/*
 * bun run bench [--pairs 9] [--seconds 3] [--connections 64,256]
 *
 * The service against the bare route (bare-route.ts), alternately, so that a noisy machine is as noisy
 * to both. What counts is the ratio: absolute figures are this machine's.
 */
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64,256' },
  },
});
const seconds = Number(values.seconds);

const bareProcess = Bun.spawn(onServerCore([process.execPath, `${import.meta.dir}/bare-route.ts`]), { stdout: 'pipe' });
const { value: firstOutput } = await bareProcess.stdout.getReader().read();
const bare = { url: new TextDecoder().decode(firstOutput).trim().replace(/\/$/, ''), pid: bareProcess.pid };
// everything on that a default has on; the limit itself must not be met by the one user who loads
const target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s' }, { prefix: onServerCore([]) });
const service = { url: target.url, pid: target.process.pid };

try {
  const bearer = await token({ exp: Math.floor(Date.now() / 1000) + 86_400 });
  for (const connections of values.connections.split(',').map(Number)) {
    const options = { connections, seconds, token: bearer };
    await load(bare, { ...options, seconds: 1 });
    await load(service, { ...options, seconds: 1 });
    const pairs: [service: Round, bare: Round][] = [];
    for (let i = 0; i < Number(values.pairs); i++) {
      // who goes first changes, so that neither always follows the other
      const first = i % 2 === 0 ? await load(bare, options) : undefined;
      const ours = await load(service, options);
      pairs.push([ours, first ?? (await load(bare, options))]);
    }
    const ratio = (figure: keyof Round) => spread(pairs.map(([ours, theirs]) => ours[figure] / theirs[figure]));
    console.log(
      `POST /log_raw_metric, ${connections} connections, ${pairs.length} pairs of ${seconds} s; service / bare route`,
    );
    console.log(
      `  requests a second  ${ratio('rate')}   service ${spread(
        pairs.map(([ours]) => ours.rate),
        0,
      )}`,
    );
    console.log(`  p50                ${ratio('p50')}   service ${spread(pairs.map(([ours]) => ours.p50))} ms`);
    console.log(`  p99                ${ratio('p99')}   service ${spread(pairs.map(([ours]) => ours.p99))} ms`);
    console.log(
      `  CPU a request      ${ratio('cpu')}   service ${spread(
        pairs.map(([ours]) => ours.cpu),
        1,
      )} µs`,
    );
  }
} finally {
  bareProcess.kill();
  await target.stop();
}
