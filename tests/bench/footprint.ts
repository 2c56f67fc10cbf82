import { parseArgs } from 'node:util';
import { startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { load } from './load.ts';
import { residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';
import { spread } from './statistics.ts';

/*
 * RAWLOG_TARGET=binary npm run bench:footprint -- [--starts 9] [--seconds 20]
 *
 * Measures the time from process start to the first response, and resident memory, idle and after a load.
 */
const { values } = parseArgs({
  options: { starts: { type: 'string', default: '9' }, seconds: { type: 'string', default: '20' } },
});

printHeader('Footprint: startup time and resident memory', 'load');
const startMs: number[] = [];
const idle: number[] = [];
for (let i = 0; i < Number(values.starts); i++) {
  const started = performance.now();
  const target = await startTarget();
  await fetch(`${target.url}/healthz`);
  startMs.push(performance.now() - started);
  idle.push(residentMegabytes(target.process.pid));
  await target.stop();
}
console.log(`${startMs.length} starts on an empty data folder; median (min to max)`);
console.log(`  process start to first response: ${spread(startMs, 0)} ms`);
console.log(`  resident memory when idle: ${spread(idle, 0)} MB`);

const target = await startTarget();
const bearer = await token({ exp: Math.floor(Date.now() / 1000) + 86_400 });
const { rate } = await load(
  { url: target.url, pid: target.process.pid },
  { connections: 64, seconds: Number(values.seconds), token: bearer },
);
const after = residentMegabytes(target.process.pid);
console.log(
  `  resident memory after ${values.seconds} s at ${rate.toFixed(0)} requests per second: ${after.toFixed(0)} MB`,
);
await target.stop();
