import { join } from 'node:path';
import { onLoadCore } from './machine.ts';

/** Requests to offer to a server, as many as it takes or more. */
export interface Offer {
  readonly url: string;
  readonly token: string;
  readonly connections: number;
  readonly seconds: number;
  /** Metrics of each request to POST /log_batch; 0: each is one metric to POST /log_raw_metric. */
  readonly rows: number;
  /**
   * Requests a second, sent when they are due on a connection that waits for no answer. 0: each connection
   * sends its next request at once.
   */
  readonly rate: number;
}

/** The answers of one status. Times from the first byte sent to the last byte received, in milliseconds. */
export interface Answers {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What became of an offer. */
export interface Offered {
  readonly seconds: number;
  readonly sent: number;
  /** Requests that were due while every connection waited for an answer: not sent. */
  readonly unsent: number;
  /** Connections that were closed before their answer. */
  readonly broken: number;
  readonly responses: Readonly<Record<string, Answers>>;
  /** CPU time of the load, as a part of the time. */
  readonly loadCpu: number;
}

/** Offers requests from a process of its own (offer-requests.ts), on the load's core. */
export async function offer(options: Offer): Promise<Offered> {
  const script = join(import.meta.dir, 'offer-requests.ts');
  const child = Bun.spawn(onLoadCore([process.execPath, script, JSON.stringify(options)]), {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the load ended early:\n${output}`);
  const cpu = Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / 1e6;
  const result = JSON.parse(output) as Omit<Offered, 'loadCpu'>;
  return { ...result, loadCpu: cpu / result.seconds };
}
