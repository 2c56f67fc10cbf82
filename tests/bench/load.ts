import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/*
 * Measuring with wrk: the server on one core, the load on another, so that they do not take turns.
 */

const SERVER_CORE = '0';
const LOAD_CORE = '1';
const pinned = Bun.which('taskset') !== null && navigator.hardwareConcurrency > 1;

/** A command that runs on the server's core, where cores can be chosen. */
export function onServerCore(command: readonly string[]): string[] {
  return pinned ? ['taskset', '-c', SERVER_CORE, ...command] : [...command];
}

/** What one round of load showed. Latencies in milliseconds. */
export interface Round {
  /** Requests a second. */
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the server a request, in microseconds. */
  readonly cpu: number;
}

/** Loads a server with metrics for some seconds. Throws when any answer is not 200. */
export async function load(
  { url, pid }: { url: string; pid: number },
  { connections, seconds, token = '' }: { connections: number; seconds: number; token?: string },
): Promise<Round> {
  const script = join(import.meta.dir, 'metric.lua');
  const wrk = [
    'wrk',
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--timeout',
    '10s',
    '-s',
    script,
    `${url}/log_raw_metric`,
  ];
  const before = cpuSeconds(pid);
  const child = Bun.spawn(pinned ? ['taskset', '-c', LOAD_CORE, ...wrk] : wrk, {
    env: { PATH: Bun.env['PATH'] ?? '', TOKEN: token },
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const output = await new Response(child.stdout).text();
  const cpu = cpuSeconds(pid) - before;
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk gave no result:\n${output}`);
  const result = JSON.parse(line) as Record<'requests' | 'seconds' | 'p50' | 'p99' | 'refused' | 'errors', number>;
  if (result.refused + result.errors > 0) throw new Error(`not every request was answered with 200: ${line}`);
  return {
    rate: result.requests / result.seconds,
    p50: result.p50,
    p99: result.p99,
    cpu: (cpu / result.requests) * 1e6,
  };
}

/** User and system time of a process so far: fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process, in megabytes. */
export function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** Median and range of some figures. */
export function spread(values: readonly number[], digits = 2): string {
  const sorted = [...values].sort((a, b) => a - b);
  const median = ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
  return `${median.toFixed(digits)} (${sorted[0]?.toFixed(digits)} to ${sorted.at(-1)?.toFixed(digits)})`;
}
