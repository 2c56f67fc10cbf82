import { parseArgs } from 'node:util';
import { SECRET, startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { load, type Round } from './load.ts';
import { startOpenLoop } from './open-loop.ts';
import { comparisonRow, printHeader, printTable } from './report.ts';
import { quantile } from './statistics.ts';

/*
 * npm run bench:mixed -- [--pairs 9] [--seconds 3] [--rate 20]
 *
 * Measures recording at its peak while queries arrive at a fixed rate per second, against recording without queries,
 * alternately. As in production, the service may use all cores; the load generator is pinned to one of them.
 */
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    rate: { type: 'string', default: '20' },
  },
});
const seconds = Number(values.seconds);
const rate = Number(values.rate);
const QUERIES = [
  '/api/metrics/series?name=page_load_time&interval=minute&from=FROM',
  '/api/metrics/series?name=page_load_time&group_by=data_string&from=FROM',
  '/api/metrics',
  '/api/records/metrics?limit=100',
];

printHeader(`Mixed load: recording beside ${rate} queries per second, against recording without queries`, 'load');
const target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s', RATE_LIMIT_BYTES: '1000gb/s' });
const bearer = await token({ role: 'admin', exp: Math.floor(Date.now() / 1000) + 86_400 });
const service = { url: target.url, pid: target.process.pid };
const options = { connections: 64, seconds, token: bearer };
try {
  await load(service, options);
  const pairs: [withQueries: Round, recordingOnly: Round][] = [];
  const latencies: number[] = [];
  let failed = 0;
  for (let i = 0; i < Number(values.pairs); i++) {
    const first = i % 2 === 0 ? await load(service, options) : undefined;
    const queries = startOpenLoop(rate, query);
    const withQueries = await load(service, options);
    const result = await queries.stop();
    latencies.push(...result.completed.map(({ latencyMs }) => latencyMs));
    failed += result.failed;
    pairs.push([withQueries, first ?? (await load(service, options))]);
  }
  console.log(`POST /log_raw_metric: ${options.connections} connections, ${pairs.length} pairs of ${seconds} s`);
  printTable([
    ['median (min to max)', 'with queries', 'without', 'with / without'],
    comparisonRow('requests per second', pairs, 'rate', 0),
    comparisonRow('p99 latency, ms', pairs, 'p99'),
  ]);
  const [p50, p99] = [0.5, 0.99].map((q) => quantile(latencies, q).toFixed(0));
  console.log(
    `  queries: ${latencies.length} completed, ${failed} failed; response time ${p50} ms at the median, ${p99} ms at p99`,
  );
} finally {
  await target.stop();
}

/** Queries the last ten minutes. */
async function query(number: number): Promise<void> {
  const from = new Date(Date.now() - 600_000).toISOString();
  const path = (QUERIES[number % QUERIES.length] as string).replace('FROM', from);
  const response = await fetch(target.url + path, { headers: { authorization: `Bearer ${bearer}` } });
  if (!response.ok) throw new Error(await response.text());
  await response.arrayBuffer();
}
