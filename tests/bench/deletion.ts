import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { METRIC, post, send } from '../harness/client.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { fillDatabase } from './fill.ts';
import { printHeader, printTable } from './report.ts';
import { quantile } from './statistics.ts';

/*
 * npm run bench:deletion -- [--rows 2000000] [--clients 8]
 *
 * Deletes half of the rows of one metric while clients record continuously, one request after another. Compares the
 * latency of recording during the deletion with the latency before it.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '2000000' }, clients: { type: 'string', default: '8' } },
});
const rows = Number(values.rows);
/** How long recording is measured before the deletion, in milliseconds. */
const BEFORE_MS = 10_000;

printHeader('Deletion of half of the rows of one metric while clients record', 'load');
using folder = temporaryFolder();
fillDatabase(folder.path, rows, { names: ['load'] });
const target = await startTarget(
  { JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s', RATE_LIMIT_BYTES: '1000gb/s', QUERY_TIMEOUT: '60s' },
  { dataDir: folder.path },
);
const headers = { authorization: `Bearer ${await token({ role: 'admin', exp: secondsFromNow(86_400) })}` };
const megabytes = () => (statSync(target.databasePath).size / 2 ** 20).toFixed(0);
/** Counts the rows of the metric, once all are in the column store. */
async function count(): Promise<number> {
  for (;;) {
    const response = await send(`${target.url}/api/metrics/series?name=load`, { headers });
    if (response.status === 200 && response.headers.get('x-ingest-lag-rows') === null) return response.body.count;
  }
}
try {
  console.log(`${await count()} rows, ${megabytes()} MB`);
  let latencies: number[] = [];
  let isRecording = true;
  const clients = Array.from({ length: Number(values.clients) }, async () => {
    while (isRecording) {
      const startedAt = performance.now();
      const { status, text } = await post(target, '/log_raw_metric', METRIC, headers);
      if (status !== 200) throw new Error(text);
      latencies.push(performance.now() - startedAt);
    }
  });
  await Bun.sleep(BEFORE_MS);
  const before = latencies;
  const remove = async (query: string) => {
    const startedAt = performance.now();
    const response = await send(`${target.url}/api/records/metrics?${query}`, { method: 'DELETE', headers });
    if (response.status !== 200) throw new Error(response.text);
    return { seconds: (performance.now() - startedAt) / 1000, rows: response.body.deleted.metrics as number };
  };
  // every second label
  const query = `name=load&${Array.from({ length: 100 }, (_, i) => `data_string=/path/to/page/${2 * i}`).join('&')}`;
  latencies = [];
  const dryRun = await remove(`${query}&dry_run=true`);
  const duringDryRun = latencies;
  latencies = [];
  const deletion = await remove(query);
  const during = latencies;
  isRecording = false;
  await Promise.all(clients);
  if (deletion.rows !== dryRun.rows || (await count()) !== rows - deletion.rows) throw new Error('wrong counts');
  console.log(`dry run: ${dryRun.rows} rows in ${dryRun.seconds.toFixed(1)} s`);
  console.log(`deletion: ${deletion.rows} rows in ${deletion.seconds.toFixed(1)} s; then ${megabytes()} MB`);
  const row = (name: string, list: readonly number[], seconds: number) => [
    name,
    (list.length / seconds).toFixed(0),
    ...[0.5, 0.99, 0.999, 1].map((q) => quantile(list, q).toFixed(1)),
  ];
  printTable([
    ['recording', 'requests per second', 'p50, ms', 'p99, ms', 'p99.9, ms', 'maximum, ms'],
    row('before', before, BEFORE_MS / 1000),
    row('during the dry run', duringDryRun, dryRun.seconds),
    row('during the deletion', during, deletion.seconds),
  ]);
} finally {
  await target.stop();
}
