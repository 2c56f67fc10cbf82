import { parseArgs } from 'node:util';
import { load } from './load.ts';
import { cpuSeconds, leaveServerCore, peakResidentMegabytes, residentMegabytes } from './machine.ts';
import { type Answers, offer } from './offer.ts';
import { benchToken, startService } from './servers.ts';

/*
 * bun run bench:overload [--seconds 60] [--connections 3000] [--batch-connections 600]
 *
 * What the service does when three times of what it can take is offered: how much of its peak it still
 * stores, how soon it answers what it takes and what it refuses, and how much memory it needs. Single
 * metrics on many connections; and batches on so many that more rows are on their way than may wait for
 * their commit. Connections that wait for an answer send nothing more, so that less than three times may
 * leave: what was sent is printed.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    connections: { type: 'string', default: '3000' },
    'batch-connections': { type: 'string', default: '600' },
  },
});
const seconds = Number(values.seconds);
const TIMES_PEAK = 3;
const PEAK_CONNECTIONS = 64;
/** The peak is measured before and after, each time for a part of the overload's time. */
const peakSeconds = Math.max(1, Math.round(seconds / 6));
const token = await benchToken();
// this process reads the service's log, which has a line for every refusal
leaveServerCore();

await measure('single metrics', 0, Number(values.connections));
await measure('batches of 100 metrics', 100, Number(values['batch-connections']));

/** @param rows metrics of a request to POST /log_batch; 0: one to POST /log_raw_metric */
async function measure(name: string, rows: number, connections: number): Promise<void> {
  const service = await startService();
  const rowsOfRequest = Math.max(1, rows);
  const peakNow = async () =>
    (await load(service, { connections: PEAK_CONNECTIONS, rows, seconds: peakSeconds, token })).rate;
  try {
    await load(service, { connections: PEAK_CONNECTIONS, rows, seconds: 1, token });
    const before = await peakNow();
    const memoryBefore = residentMegabytes(service.pid);
    const cpuBefore = cpuSeconds(service.pid);
    const result = await offer({ url: service.url, token, connections, seconds, rows, rate: before * TIMES_PEAK });
    const cpu = (cpuSeconds(service.pid) - cpuBefore) / result.seconds;
    const largest = peakResidentMegabytes(service.pid);
    const after = await peakNow();
    const peak = (before + after) / 2;
    const { '200': taken, '503': shed, ...others } = result.responses;
    const stored = (taken?.count ?? 0) / result.seconds;
    console.log(
      `${name}, ${connections} connections, ${seconds} s; peak ${(before * rowsOfRequest).toFixed(0)} rows a second before, ${(after * rowsOfRequest).toFixed(0)} after`,
    );
    console.log(
      `  offered            ${(before * TIMES_PEAK).toFixed(0)} requests a second, sent ${(result.sent / result.seconds).toFixed(0)}`,
    );
    console.log(
      `  stored             ${(stored * rowsOfRequest).toFixed(0)} rows a second, ${(stored / peak).toFixed(2)} of the peak`,
    );
    console.log(`  taken (200)        ${describe(taken)}`);
    console.log(`  shed (503)         ${describe(shed)}`);
    for (const [status, responses] of Object.entries(others))
      console.log(`  status ${status}         ${describe(responses)}`);
    if (result.broken > 0) console.log(`  connections that broke off  ${result.broken}`);
    console.log(
      `  memory             ${memoryBefore.toFixed(0)} MB at the peak, largest ${largest.toFixed(0)} MB; cores in use: server ${cpu.toFixed(2)}, load ${result.loadCpu.toFixed(2)}`,
    );
  } finally {
    await service.target.stop();
  }
}

function describe(responses: Answers | undefined): string {
  if (!responses) return 'none';
  const { count, p50, p99, max } = responses;
  return `${count} responses, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`;
}
