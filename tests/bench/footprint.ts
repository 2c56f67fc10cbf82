import { parseArgs } from 'node:util';
import { startTarget, TARGET } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { spread } from './figures.ts';
import { load } from './load.ts';
import { residentMegabytes } from './machine.ts';

/*
 * RAWLOG_TARGET=binary bun run bench:footprint [--starts 9] [--seconds 20]
 *
 * From the start of the process to the first answer, and resident memory: idle, and after a load.
 */
const { values } = parseArgs({
  options: { starts: { type: 'string', default: '9' }, seconds: { type: 'string', default: '20' } },
});

const starts: number[] = [];
const idle: number[] = [];
for (let i = 0; i < Number(values.starts); i++) {
  const started = performance.now();
  const target = await startTarget();
  await fetch(`${target.url}/healthz`);
  starts.push(performance.now() - started);
  idle.push(residentMegabytes(target.process.pid));
  await target.stop();
}
console.log(`${TARGET}: start to first response ${spread(starts, 0)} ms; idle ${spread(idle, 0)} MB resident`);

const target = await startTarget();
const bearer = await token({ exp: Math.floor(Date.now() / 1000) + 86_400 });
const { rate } = await load(
  { url: target.url, pid: target.process.pid },
  { connections: 64, seconds: Number(values.seconds), token: bearer },
);
const after = residentMegabytes(target.process.pid);
console.log(
  `${TARGET}: after ${values.seconds} s at ${rate.toFixed(0)} requests a second ${after.toFixed(0)} MB resident`,
);
await target.stop();
