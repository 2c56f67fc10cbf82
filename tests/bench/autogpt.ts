import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ORIGINAL_TABLES, ordinaryRows } from '../harness/autogpt.ts';
import { succeed } from '../harness/backups.ts';
import { send } from '../harness/client.ts';
import { missingPostgres, POSTGRES_PASSWORD, startPostgres } from '../harness/postgres.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { printHeader, printTable } from './report.ts';

/*
 * RAWLOG_TARGET=binary npm run bench:autogpt -- [--rows 1000000]
 *
 * Imports an AutoGPT database, imports it again, queries it, and forwards it to tables of the same kind. Figures must be
 * those that PostgreSQL computes, and the forwarded rows must equal the original ones.
 */

const TABLES = ['AnalyticsMetrics', 'AnalyticsDetails'] as const;
const METRIC = 'page_load_time';
const TYPE = 'step_1';

const { values } = parseArgs({ options: { rows: { type: 'string', default: '1000000' } } });
if (missingPostgres) throw new Error(missingPostgres);
const rows = Number(values.rows);

printHeader(`Import of an AutoGPT database with ${rows} rows, and back`, 'none');
using folder = temporaryFolder();
await using postgres = startPostgres();
for (const [schema, filling] of [
  ['original', ordinaryRows(rows / 2)],
  ['forwarded', ''],
]) {
  await postgres.sql.unsafe(
    `CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${ORIGINAL_TABLES} ${filling}; RESET search_path`,
  );
}

const dataDir = join(folder.path, 'data');
const problems: string[] = [];
const table = [['step', 's', 'rows/s']];
async function measured<Result>(step: string, action: () => Promise<Result>): Promise<Result> {
  const startedAt = performance.now();
  const result = await action();
  const seconds = (performance.now() - startedAt) / 1000;
  table.push([step, seconds.toFixed(1), (rows / seconds).toFixed(0)]);
  return result;
}
function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (!Bun.deepEquals(actual, expected))
    problems.push(`${what}: ${Bun.inspect(actual)} instead of ${Bun.inspect(expected)}`);
}

const source = postgres.url({ schema: 'original' }, { password: '' });
const runImport = async () =>
  JSON.parse(await succeed(['import', source, '--json'], dataDir, { PGPASSWORD: POSTGRES_PASSWORD }));
expectEqual('rows imported', (await measured('import', runImport)).stored, rows);
expectEqual('rows imported again', (await measured('import again', runImport)).stored, 0);

const target = await startTarget(
  { ...UNLIMITED, FORWARD_URL: postgres.url({ schema: 'forwarded' }), NODE_ID: 'node_1' },
  { dataDir },
);
const headers = { authorization: `Bearer ${await token({ role: 'admin', exp: secondsFromNow(86_400) })}` };
const get = async (path: string) => {
  const { status, text, body } = await send(`${target.url}${path}`, { headers });
  if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
  return body;
};
await measured('forward', async () => {
  // without sinks until the forwarder has started
  while ((await get('/api/status')).sinks?.[0]?.lag_rows !== 0) await Bun.sleep(50);
});

const [metrics] = await postgres.sql`
  SELECT count(*)::int AS count, max("value") AS max, percentile_cont(0.95) WITHIN GROUP (ORDER BY "value") AS p95
  FROM original."AnalyticsMetrics" WHERE "analyticMetric" = ${METRIC}`;
const series = await get(`/api/metrics/series?name=${METRIC}`);
expectEqual(
  'statistics of a metric',
  [series.count, series.max, series.p95],
  [metrics?.['count'], metrics?.['max'], metrics?.['p95']],
);
const [events] = await postgres.sql`
  SELECT count(*)::int AS count, count(DISTINCT "userId")::int AS users FROM original."AnalyticsDetails" WHERE "type" = ${TYPE}`;
const counts = await get(`/api/analytics/counts?type=${TYPE}`);
expectEqual('counts of an event', [counts.count, counts.unique_users], [events?.['count'], events?.['users']]);
for (const name of TABLES) {
  for (const [a, b] of [
    ['original', 'forwarded'],
    ['forwarded', 'original'],
  ]) {
    const [different] = await postgres.sql.unsafe(
      `SELECT count(*)::int AS count FROM (SELECT * FROM ${a}."${name}" EXCEPT ALL SELECT * FROM ${b}."${name}") AS rows`,
    );
    expectEqual(`rows of ${name} in ${a} that are not in ${b}`, different?.['count'], 0);
  }
}
expectEqual('exit status of the server', await target.stop(), 0);
printTable(table);
console.log(`\n  ${problems.length} differences (must be 0)`);
for (const problem of problems) console.log(`  ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
