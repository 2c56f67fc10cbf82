import { caughtUp, delivered, type SinkLag, sinkLag } from './forwarding-status.ts';
import { type Load, load, pauseForRate, type Round } from './load.ts';
import { treeSeconds } from './machine.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printTable } from './report.ts';
import { startService } from './servers.ts';
import type { SinkEngine } from './sink-engines.ts';
import { median, spread } from './statistics.ts';

const CONNECTIONS = 64;
/** Metrics per batch, and connections that send them: as in bench. */
const BATCH = { rows: 1_000, connections: 5 };
/** Longest round of batches by default, in seconds: the engine needs several times as long for their rows. */
const BATCH_SECONDS = 2;
const LAG_POLL_MS = 500;
/** Levels of log lines that say what is wrong, such as an engine that fails. */
const WARNINGS: ReadonlySet<string> = new Set(['warn', 'error', 'fatal']);
/** Rounds at peak load, to determine the peak rate. */
const PEAK_ROUNDS = 3;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly lagSeconds: number;
  /** Of an admin. */
  readonly token: string;
}

/**
 * Prints the rate and the CPU time of recording with forwarding to an engine against recording without it, for single
 * requests and for batches, and the lag of the engine under steady load.
 */
export async function measureForwardedRecording(engine: SinkEngine, options: Options): Promise<void> {
  const env = { ...engine.env, FORWARD_URL: engine.url('recording') };
  const forwarding = await startService(undefined, { isPinned: false, env });
  const plain = await startService(undefined, { isPinned: false });
  const { token } = options;
  const settle = async () => {
    await delivered(forwarding.target);
    for (const server of [forwarding, plain]) await caughtUp(server, token);
  };
  const engineSeconds = () => engine.pids.reduce((sum, pid) => sum + treeSeconds(pid), 0);

  /** Measures both servers alternately. */
  async function compare(title: string, of: Load, rowsPerRequest: number): Promise<void> {
    await settle();
    for (const server of [forwarding, plain]) await load(server, { ...of, seconds: 1 });
    const perRow = (round: Round) => ({
      ...round,
      rate: round.rate * rowsPerRequest,
      cpuUs: round.cpuUs / rowsPerRequest,
      mainCpuUs: round.mainCpuUs / rowsPerRequest,
    });
    const engineCores: number[] = [];
    const pairs = await measurePairs(
      options.rounds,
      async () => {
        await settle();
        const before = engineSeconds();
        const round = await load(forwarding, of);
        engineCores.push((engineSeconds() - before) / of.seconds);
        return perRow(round);
      },
      async () => {
        await settle();
        return perRow(await load(plain, of));
      },
    );
    console.log(`${title}: ${of.connections} connections, ${pairs.length} pairs of ${of.seconds} s`);
    printTable([
      ['median (min to max)', 'with forwarding', 'without', 'with / without'],
      comparisonRow('rows per second', pairs, 'rate', 0),
      comparisonRow('p50 latency, ms', pairs, 'p50'),
      comparisonRow('p99 latency, ms', pairs, 'p99'),
      comparisonRow('CPU time of the main thread per row, µs', pairs, 'mainCpuUs', 2),
      comparisonRow('CPU time of all threads per row, µs', pairs, 'cpuUs', 2),
    ]);
    console.log(`  the engine used ${spread(engineCores)} cores during the rounds with forwarding`);
  }

  /** Loads the forwarding server for some time. Returns a row of a table with its rate and the lag of the sink. */
  async function lagAt(name: string, pauseMs: number): Promise<string[]> {
    await settle();
    const lags: SinkLag[] = [];
    let isLoading = true;
    const polling = (async () => {
      for (; isLoading; await Bun.sleep(LAG_POLL_MS)) {
        const lag = await sinkLag(forwarding, token);
        if (lag) lags.push(lag);
      }
    })();
    const round = await load(forwarding, { connections: CONNECTIONS, seconds: options.lagSeconds, token, pauseMs });
    isLoading = false;
    await polling;
    const stoppedAt = performance.now();
    await delivered(forwarding.target);
    const after = (performance.now() - stoppedAt) / 1000;
    const of = (key: keyof SinkLag, digits: number) =>
      spread(
        lags.map((lag) => lag[key]),
        digits,
      );
    const last = lags.at(-1)?.rows ?? Number.NaN;
    return [name, round.rate.toFixed(0), of('rows', 0), of('seconds', 1), String(last), after.toFixed(1)];
  }

  try {
    const { leastSeconds = 0 } = engine;
    const single = { connections: CONNECTIONS, seconds: Math.max(options.seconds, leastSeconds), token };
    await compare('POST /log_raw_metric at peak', single, 1);
    const seconds = Math.max(Math.min(options.seconds, BATCH_SECONDS), leastSeconds);
    await compare(`POST /log_batch of ${BATCH.rows} metrics at peak`, { ...BATCH, seconds, token }, BATCH.rows);
    await settle();
    const peaks: number[] = [];
    for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(forwarding, single)).rate);
    const pauseMs = await pauseForRate(forwarding, single, median(peaks) / 2);
    console.log(`lag while single requests are recorded for ${options.lagSeconds} s; ${CONNECTIONS} connections`);
    printTable([
      ['', 'rows per second', 'lag, rows', 'lag, s', 'lag at the end, rows', 'delivered after, s'],
      await lagAt('peak', 0),
      await lagAt('half of the peak', pauseMs),
    ]);
    const warnings = forwarding.target.logLines().filter(({ level }) => WARNINGS.has(String(level)));
    for (const { msg, reason } of warnings) console.log(`  logged: ${msg}: ${reason}`);
  } finally {
    await plain.target.stop();
    await forwarding.target.stop();
  }
}
