import { join } from 'node:path';
import { cpuSeconds, onLoadCore } from './machine.ts';
import type { Loaded } from './servers.ts';

/** How to load a server with wrk. */
export interface Load {
  readonly connections: number;
  readonly seconds: number;
  readonly token?: string;
  /** Metrics of each request to POST /log_batch; 0, the default: each is one metric to POST /log_raw_metric. */
  readonly rows?: number;
  /**
   * Mean pause of a connection between an answer and its next request, in milliseconds; each pause is
   * drawn from 0 to twice of it. 0, the default: none, so that the server is loaded to its peak.
   */
  readonly pause?: number;
}

/** What one round of load showed. Latencies in milliseconds. */
export interface Round {
  /** Requests a second. */
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the server a request, in microseconds. */
  readonly cpu: number;
  /** CPU time of wrk a request, in microseconds. */
  readonly loadCpu: number;
}

/** Loads a server for some seconds. Throws when any answer is not 200. */
export async function load({ url, pid }: Loaded, { connections, seconds, token, rows, pause }: Load): Promise<Round> {
  const before = cpuSeconds(pid);
  const child = Bun.spawn(
    onLoadCore([
      'wrk',
      '-t1',
      `-c${connections}`,
      `-d${seconds}s`,
      '--timeout',
      '10s',
      '-s',
      join(import.meta.dir, 'metric.lua'),
      `${url}/${rows ? 'log_batch' : 'log_raw_metric'}`,
    ]),
    {
      env: {
        PATH: Bun.env['PATH'] ?? '',
        TOKEN: token ?? '',
        ROWS: String(rows ?? 0),
        PAUSE: String(pause ?? 0),
      },
      stdout: 'pipe',
      stderr: 'inherit',
    },
  );
  const output = await new Response(child.stdout).text();
  const cpu = cpuSeconds(pid) - before;
  await child.exited;
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk gave no result:\n${output}`);
  const result = JSON.parse(line) as Record<'requests' | 'seconds' | 'p50' | 'p99' | 'refused' | 'errors', number>;
  if (result.refused + result.errors > 0) throw new Error(`not every request was answered with 200: ${line}`);
  return {
    rate: result.requests / result.seconds,
    p50: result.p50,
    p99: result.p99,
    cpu: (cpu / result.requests) * 1e6,
    loadCpu: Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / result.requests,
  };
}

/** Rounds of a second in which {@link pauseForRate} comes nearer to the rate. */
const PACING_ROUNDS = 3;

/** Finds the pause with which a load's connections together send so many requests a second. */
export async function pauseForRate(server: Loaded, options: Load, rate: number): Promise<number> {
  const interval = (options.connections / rate) * 1000;
  let pause = interval;
  for (let i = 0; i < PACING_ROUNDS; i++) {
    const round = await load(server, { ...options, seconds: 1, pause });
    // what the answer took, and how late timers are, goes off the pause
    pause = Math.max(0.1, pause + interval - (options.connections / round.rate) * 1000);
  }
  return pause;
}
