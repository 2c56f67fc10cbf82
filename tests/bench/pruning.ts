import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { succeed } from '../harness/backups.ts';
import { send } from '../harness/client.ts';
import { temporaryFolder } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { fillDatabase } from './fill.ts';
import { load, pauseForRate, type Round } from './load.ts';
import { printHeader, printTable } from './report.ts';
import { startService } from './servers.ts';
import { median, spread } from './statistics.ts';
import { probeWriteLock } from './write-lock.ts';

/*
 * RAWLOG_TARGET=binary npm run bench:pruning -- [--rows 10000000] [--keep 1000000] [--names 20] [--seconds 3] [--windows 5]
 *
 * Deletes old rows with `rawlog prune --older-than` from a server that records at half of its peak. Compares successive
 * windows of recording before, during and after it, and measures how long the write lock is held.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    keep: { type: 'string', default: '1000000' },
    names: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '3' },
    windows: { type: 'string', default: '5' },
  },
});
const [rows, keep, seconds, windows] = [values.rows, values.keep, values.seconds, values.windows].map(Number) as [
  number,
  number,
  number,
  number,
];
const MAX_AGE_DAYS = 30;
const OLD_MS = 60 * 86_400_000;
/** Rounds at peak load, to determine the peak rate. */
const PEAK_ROUNDS = 3;

printHeader(`Pruning ${rows - keep} of ${rows} rows while the server records at half of its peak`, 'load');
using folder = temporaryFolder();
const names = Array.from({ length: Number(values.names) }, (_, i) => `metric_name_${i}`);
const { megabytes } = fillDatabase(folder.path, rows, { names, ageMs: (row) => (row < rows - keep ? OLD_MS : 0) });
const service = await startService(folder.path, { isPinned: false });
const bearer = await token({ role: 'admin', exp: secondsFromNow(86_400) });
const options = { connections: 64, seconds, token: bearer };
let isWrong = false;
try {
  await catchUp();
  const peaks: number[] = [];
  for (let i = 0; i < PEAK_ROUNDS; i++) peaks.push((await load(service, options)).rate);
  const rate = median(peaks) / 2;
  const pauseMs = await pauseForRate(service, options, rate);
  const measure = async (isDone: (measured: number) => boolean) => {
    const probe = probeWriteLock(service.target.databasePath);
    const rounds: Round[] = [];
    do rounds.push(await load(service, { ...options, pauseMs }));
    while (!isDone(rounds.length));
    return { rounds, ...(await probe.stop()) };
  };
  await catchUp();
  const before = await measure((measured) => measured >= windows);
  const startedAt = performance.now();
  let prunedSeconds = Number.NaN;
  const pruning = succeed(['prune', '--older-than', `${MAX_AGE_DAYS}d`, '--json'], folder.path).finally(() => {
    prunedSeconds = (performance.now() - startedAt) / 1000;
  });
  const during = await measure(() => !Number.isNaN(prunedSeconds));
  const report = JSON.parse(await pruning) as PruneJson;
  const after = await measure((measured) => measured >= windows);
  const deleted = report.deleted.metrics;
  isWrong = deleted !== rows - keep;
  if (isWrong) console.log(`WRONG: ${deleted} rows were deleted instead of ${rows - keep}`);
  console.log(
    `half of the peak of ${median(peaks).toFixed(0)} requests per second; windows of ${seconds} s; median (min to max), and how long the write lock was held`,
  );
  const rowOf = (name: string, { rounds, longestMs, over50Ms }: Awaited<ReturnType<typeof measure>>) => [
    name,
    String(rounds.length),
    ...(['rate', 'p50', 'p99', 'max'] as const).map((key) =>
      spread(
        rounds.map((round) => round[key]),
        key === 'rate' ? 0 : 1,
      ),
    ),
    longestMs.toFixed(0),
    String(over50Ms),
  ];
  printTable([
    ['', 'windows', 'requests per second', 'p50, ms', 'p99, ms', 'slowest, ms', 'longest lock, ms', 'over 50 ms'],
    rowOf('before', before),
    rowOf('during', during),
    rowOf('after', after),
  ]);
  console.log(
    `  pruned ${deleted} rows in ${prunedSeconds.toFixed(1)} s, ${(deleted / prunedSeconds).toFixed(0)} rows per second`,
  );
  console.log(
    `  file: ${megabytes.toFixed(0)} MB filled, ${toMegabytes(report.database_bytes.before)} MB before, ${toMegabytes(report.database_bytes.after)} MB after, ${toMegabytes(statSync(service.target.databasePath).size)} MB at the end`,
  );
} finally {
  await service.target.stop();
}
process.exitCode = isWrong ? 1 : 0;

/** The result of `rawlog prune --json`. */
interface PruneJson {
  readonly deleted: { readonly metrics: number };
  readonly database_bytes: { readonly before: number; readonly after: number };
}

/** Waits until all rows are in the column store. */
async function catchUp(): Promise<void> {
  const headers = { authorization: `Bearer ${bearer}` };
  while ((await send(`${service.url}/api/metrics`, { headers })).headers.get('x-ingest-lag-rows') !== null);
}

function toMegabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
