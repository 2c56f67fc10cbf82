import { join } from 'node:path';
import { pinToLoadCore } from './machine.ts';

/** A load to offer to a server, up to its capacity or beyond. */
export interface Offer {
  readonly url: string;
  readonly token: string;
  readonly connections: number;
  readonly seconds: number;
  /** Metrics per POST /log_batch request. 0: POST /log_raw_metric requests of one metric each. */
  readonly rows: number;
  /**
   * Requests per second. A request is sent when it is due and a connection is idle. 0: each connection sends its next
   * request immediately after a response.
   */
  readonly rate: number;
}

/** Count and latency of the responses with one status, from first byte sent to last byte received, in milliseconds. */
export interface ResponseStats {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The result of an offered load. */
export interface OfferResult {
  readonly seconds: number;
  readonly sent: number;
  /** Requests not sent, because every connection was waiting for a response when they were due. */
  readonly unsent: number;
  /** Connections closed before a response. */
  readonly broken: number;
  readonly responses: Readonly<Record<string, ResponseStats>>;
  /** CPU usage of the load generator, in cores. */
  readonly loadCores: number;
}

/** Offers a load from a separate process (offer-requests.ts) on the load generator's core. */
export async function offer(options: Offer): Promise<OfferResult> {
  const script = join(import.meta.dir, 'offer-requests.ts');
  const child = Bun.spawn(pinToLoadCore([process.execPath, script, JSON.stringify(options)]), {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the load generator failed:\n${output}`);
  const cpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / 1e6;
  const result = JSON.parse(output) as Omit<OfferResult, 'loadCores'>;
  return { ...result, loadCores: cpuSeconds / result.seconds };
}
