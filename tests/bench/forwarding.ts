import { constants, getPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { fillDatabase } from './fill.ts';
import { type BacklogResult, measureBacklog } from './forwarding-backlog.ts';
import { measureForwardedRecording } from './forwarding-recording.ts';
import { caughtUp } from './forwarding-status.ts';
import { printHeader, printTable } from './report.ts';
import { startService } from './servers.ts';
import { SINK_ENGINES, type SinkEngine } from './sink-engines.ts';
import { spread } from './statistics.ts';

/*
 * RAWLOG_TARGET=binary npm run bench:forwarding -- [--engine discard|clickhouse|postgres|nats|s3] [--rounds 5] [--seconds 5]
 *   [--rows 1000000] [--backlog-rounds 3] [--lag-seconds 30]
 *
 * Measures forwarding to an engine, by default to each one that is installed:
 *
 * - how many of --rows rows that waited are delivered per second, without recording,
 * - what forwarding takes from recording: a server with FORWARD_URL against one without, alternately in one run. Before each
 *   round, both are idle and everything is delivered,
 * - the lag of the engine while requests are recorded at the peak rate and at half of it.
 *
 * Server and engine may use all cores, and the load generator runs on one of them: they compete for CPU time. `discard`
 * needs no CPU time to store rows, which leaves what rawlog itself takes. S3 receives rows once per minute or
 * 100,000 rows, so its rounds take longer. Run it without `nice`, which would take from recording its precedence over the
 * forwarder.
 */
const { values } = parseArgs({
  options: {
    engine: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    rows: { type: 'string', default: '1000000' },
    'backlog-rounds': { type: 'string', default: '3' },
    'lag-seconds': { type: 'string', default: '30' },
  },
});
/** The part of the backlog that is measured: S3 waits for the last rows of a minute, which is less than the rest. */
const BACKLOG_SHARE = 0.9;

const names = values.engine === undefined ? Object.keys(SINK_ENGINES) : [values.engine];
const bearer = await token({ role: 'admin', exp: secondsFromNow(86_400) });
const rows = Number(values.rows);
printHeader(
  'Forwarding. Server, engine and load generator share the cores: the CPU time of the engine is missing to the others',
  'load',
);
if (getPriority() >= constants.priority.PRIORITY_BELOW_NORMAL) {
  console.log('NICE: at this priority, the forwarder does not give way to recording, as it does in production\n');
}
for (const name of names) {
  const chosen = SINK_ENGINES[name];
  if (!chosen) throw new Error(`--engine must be one of ${Object.keys(SINK_ENGINES).join(', ')}`);
  if (chosen.missing === undefined) {
    using folder = temporaryFolder();
    await using engine = await chosen.start(folder.path);
    console.log(`${name}: ${engine.title}`);
    await measureBacklogs(engine);
    await measureForwardedRecording(engine, {
      rounds: Number(values.rounds),
      seconds: Number(values.seconds),
      lagSeconds: Number(values['lag-seconds']),
      token: bearer,
    });
  } else if (values.engine === undefined) console.log(`${name}: not measured without ${chosen.missing}`);
  else throw new Error(`${name} needs ${chosen.missing}`);
  console.log();
}

/** Measures how fast rows that waited are delivered to new places in an engine. */
async function measureBacklogs(engine: SinkEngine): Promise<void> {
  using folder = temporaryFolder();
  fillDatabase(folder.path, rows);
  const first = await startService(folder.path, { isPinned: false });
  await caughtUp(first, bearer); // the column store, which would be built beside the deliveries
  await first.target.stop();
  const rounds: BacklogResult[] = [];
  for (let round = 1; round <= Number(values['backlog-rounds']); round++) {
    const env = { ...engine.env, FORWARD_URL: engine.url(`backlog_${round}`) };
    const start = async () => (await startService(folder.path, { isPinned: false, env })).target;
    rounds.push(await measureBacklog(start, join(folder.path, 'rawlog.db'), engine.pids, BACKLOG_SHARE));
  }
  const of = (key: 'rate' | 'cpuUs' | 'engineCpuUs', digits: number) =>
    spread(
      rounds.map((round) => round[key]),
      digits,
    );
  console.log(`${BACKLOG_SHARE * 100} % of ${rows} metrics that waited, without recording; ${rounds.length} rounds`);
  printTable([
    ['rows per second', 'CPU time of rawlog per row, µs', 'CPU time of the engine per row, µs'],
    [of('rate', 0), of('cpuUs', 1), of('engineCpuUs', 1)],
  ]);
}
