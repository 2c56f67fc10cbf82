import { parseArgs } from 'node:util';
import { load } from './load.ts';
import { cpuSeconds, leaveServerCore, peakResidentMegabytes, residentMegabytes } from './machine.ts';
import { offer, type ResponseStats } from './offer.ts';
import { printHeader, printTable } from './report.ts';
import { benchToken, startService } from './servers.ts';

/*
 * npm run bench:overload -- [--seconds 60] [--connections 3000] [--batch-connections 600]
 *
 * Offers three times the peak rate of the service, and measures how much of its peak it still stores, the latency of
 * accepted and of rejected requests, and memory. Two loads: single metrics on many connections, and batches on so many
 * connections that the rows in flight exceed the commit queue. A connection that waits for a response sends nothing, so
 * the rate actually sent, which is printed too, may be below three times the peak.
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
/** Duration of each of the two peak measurements, before and after the overload, in seconds. */
const peakSeconds = Math.max(1, Math.round(seconds / 6));
const token = await benchToken();
// this process reads the service's log, which contains a line for every rejection
leaveServerCore();
printHeader(`Overload: ${TIMES_PEAK} times the peak rate offered, against the peak rate`, 'both');

await measure('single metrics', 0, Number(values.connections));
await measure('batches of 100 metrics', 100, Number(values['batch-connections']));

/** @param rows metrics per POST /log_batch request; 0: POST /log_raw_metric requests of one metric each */
async function measure(name: string, rows: number, connections: number): Promise<void> {
  const service = await startService();
  const rowsPerRequest = Math.max(1, rows);
  const measurePeak = async () =>
    (await load(service, { connections: PEAK_CONNECTIONS, rows, seconds: peakSeconds, token })).rate;
  try {
    await load(service, { connections: PEAK_CONNECTIONS, rows, seconds: 1, token });
    const before = await measurePeak();
    const memoryBefore = residentMegabytes(service.pid);
    const cpuBefore = cpuSeconds(service.pid);
    const result = await offer({ url: service.url, token, connections, seconds, rows, rate: before * TIMES_PEAK });
    const serverCores = (cpuSeconds(service.pid) - cpuBefore) / result.seconds;
    const peakMemory = peakResidentMegabytes(service.pid);
    const after = await measurePeak();
    const peak = (before + after) / 2;
    const rateRow = (label: string, rate: number) => [
      label,
      rate.toFixed(0),
      (rate * rowsPerRequest).toFixed(0),
      (rate / peak).toFixed(2),
    ];
    const { '200': stored, '503': rejected, ...others } = result.responses;
    const storedRate = (stored?.count ?? 0) / result.seconds;
    console.log(`${name}: ${connections} connections, ${seconds} s`);
    printTable([
      ['', 'requests per second', 'rows per second', 'fraction of peak'],
      rateRow('peak before', before),
      rateRow('peak after', after),
      rateRow('offered', before * TIMES_PEAK),
      rateRow('sent', result.sent / result.seconds),
      rateRow('stored', storedRate),
    ]);
    printTable([
      ['response status', 'responses', 'p50, ms', 'p99, ms', 'max, ms'],
      ['200 (stored)', ...cells(stored)],
      ['503 (rejected)', ...cells(rejected)],
      ...Object.entries(others).map(([status, responses]) => [status, ...cells(responses)]),
    ]);
    if (result.broken > 0) console.log(`  connections closed before a response: ${result.broken}`);
    console.log(
      `  resident memory: ${memoryBefore.toFixed(0)} MB before the overload, ${peakMemory.toFixed(0)} MB at its highest`,
    );
    console.log(`  CPU: server ${serverCores.toFixed(2)} cores, load generator ${result.loadCores.toFixed(2)} cores\n`);
  } finally {
    await service.target.stop();
  }
}

function cells(responses: ResponseStats | undefined): string[] {
  if (!responses) return ['0', '-', '-', '-'];
  const { count, p50, p99, max } = responses;
  return [String(count), p50.toFixed(1), p99.toFixed(1), max.toFixed(1)];
}
