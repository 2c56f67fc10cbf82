import { join } from 'node:path';
import { cpuSeconds, mainThreadSeconds, pinToLoadCore } from './machine.ts';
import type { LoadedServer } from './servers.ts';

/** Options of a round of load that wrk generates. */
export interface Load {
  readonly connections: number;
  readonly seconds: number;
  readonly token?: string;
  /** Metrics per POST /log_batch request. 0 (default): POST /log_raw_metric requests of one metric each. */
  readonly rows?: number;
  /**
   * Mean pause of a connection between a response and its next request, in milliseconds. Each pause is drawn
   * uniformly from 0 to twice the mean. 0 (default): no pause, which loads the server to its peak.
   */
  readonly pauseMs?: number;
}

/** The result of one round of load. Latencies are in milliseconds. */
export interface Round {
  /** Requests per second. */
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Server CPU time per request, in microseconds. */
  readonly cpuUs: number;
  /** CPU time of the server's main thread per request, in microseconds. */
  readonly mainCpuUs: number;
  /** CPU time of wrk per request, in microseconds. */
  readonly loadCpuUs: number;
}

/** Loads a server with wrk for some seconds. Throws if any response is not a 200. */
export async function load(
  { url, pid }: LoadedServer,
  { connections, seconds, token, rows, pauseMs }: Load,
): Promise<Round> {
  const before = { all: cpuSeconds(pid), main: mainThreadSeconds(pid) };
  const child = Bun.spawn(
    pinToLoadCore([
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
        PAUSE_MS: String(pauseMs ?? 0),
      },
      stdout: 'pipe',
      stderr: 'inherit',
    },
  );
  const output = await new Response(child.stdout).text();
  const cpu = { all: cpuSeconds(pid) - before.all, main: mainThreadSeconds(pid) - before.main };
  await child.exited;
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${output}`);
  const result = JSON.parse(line) as Record<
    'requests' | 'seconds' | 'p50' | 'p99' | 'max' | 'rejected' | 'errors',
    number
  >;
  if (result.rejected + result.errors > 0) throw new Error(`some responses were not 200: ${line}`);
  return {
    rate: result.requests / result.seconds,
    p50: result.p50,
    p99: result.p99,
    max: result.max,
    cpuUs: (cpu.all / result.requests) * 1e6,
    mainCpuUs: (cpu.main / result.requests) * 1e6,
    loadCpuUs: Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / result.requests,
  };
}

/** One-second rounds in which {@link pauseForRate} converges on the rate. */
const PACING_ROUNDS = 3;

/** Determines the mean pause, in milliseconds, at which a load sends `rate` requests per second. */
export async function pauseForRate(server: LoadedServer, options: Load, rate: number): Promise<number> {
  const intervalMs = (options.connections / rate) * 1000;
  let pauseMs = intervalMs;
  for (let i = 0; i < PACING_ROUNDS; i++) {
    const round = await load(server, { ...options, seconds: 1, pauseMs });
    // shortens the pause by the response time and the lateness of timers
    pauseMs = Math.max(0.1, pauseMs + intervalMs - (options.connections / round.rate) * 1000);
  }
  return pauseMs;
}
