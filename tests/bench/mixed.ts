import { parseArgs } from 'node:util';
import { SECRET, startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { load, type Round } from './load.ts';
import { comparisonRow, printHeader, printTable } from './report.ts';

/*
 * npm run bench:mixed -- [--pairs 9] [--seconds 3]
 *
 * Measures recording while one client queries continuously, against recording without queries, alternately. As in
 * production, the service may use all cores; the load generator is pinned to one of them.
 */
const { values } = parseArgs({
  options: { pairs: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' } },
});
const seconds = Number(values.seconds);
const QUERIES = [
  '/api/metrics/series?name=page_load_time&interval=minute&from=FROM',
  '/api/metrics/series?name=page_load_time&group_by=data_string&from=FROM',
  '/api/metrics',
  '/api/records/metrics?limit=100',
];

printHeader('Mixed load: recording while a client queries continuously, against recording without queries', 'load');
const target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s', RATE_LIMIT_BYTES: '1000gb/s' });
const bearer = await token({ role: 'admin', exp: Math.floor(Date.now() / 1000) + 86_400 });
const service = { url: target.url, pid: target.process.pid };
const options = { connections: 64, seconds, token: bearer };
try {
  await load(service, options);
  const pairs: [withQueries: Round, recordingOnly: Round][] = [];
  let queryCount = 0;
  for (let i = 0; i < Number(values.pairs); i++) {
    const first = i % 2 === 0 ? await load(service, options) : undefined;
    const queries = startQueries();
    const withQueries = await load(service, options);
    queryCount += await queries.stop();
    pairs.push([withQueries, first ?? (await load(service, options))]);
  }
  console.log(`POST /log_raw_metric: ${options.connections} connections, ${pairs.length} pairs of ${seconds} s`);
  printTable([
    ['median (min to max)', 'with queries', 'without', 'with / without'],
    comparisonRow('requests per second', pairs, 'rate', 0),
    comparisonRow('p99 latency, ms', pairs, 'p99'),
  ]);
  console.log(`  queries completed per second: ${(queryCount / (pairs.length * seconds)).toFixed(0)}`);
} finally {
  await target.stop();
}

/** Starts to query the last ten minutes, one query after another. `stop` returns how many were completed. */
function startQueries(): { stop(): Promise<number> } {
  let isRunning = true;
  let completed = 0;
  const running = (async () => {
    for (let i = 0; isRunning; i++) {
      const from = new Date(Date.now() - 600_000).toISOString();
      const path = (QUERIES[i % QUERIES.length] as string).replace('FROM', from);
      const response = await fetch(target.url + path, { headers: { authorization: `Bearer ${bearer}` } });
      if (!response.ok) throw new Error(await response.text());
      await response.arrayBuffer();
      completed++;
    }
  })();
  return {
    async stop() {
      isRunning = false;
      await running;
      return completed;
    },
  };
}
