import { Database } from 'bun:sqlite';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import journal from '../../src/storage/migrations/meta/_journal.json';
import { insertMetrics } from '../bench/fill.ts';
import { printTable } from '../bench/report.ts';
import { spread } from '../bench/statistics.ts';
import { succeed } from '../harness/backups.ts';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { countCalls, killAt } from '../harness/kill-at.ts';
import { createOlderDatabase } from '../harness/older-database.ts';
import { isStraceMissing } from '../harness/slow-disk.ts';
import { runCli, SECRET, startTarget, TARGET, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:maintenance-kill -- [--kills 50] [--rows 20000]
 *
 * Kills `rawlog prune`, a server that executes it, and `rawlog migrate`, at random moments (SIGKILL). After each, the
 * database must verify, a server must start on it with a balanced ledger, and the command must succeed when it is repeated.
 */

/** Migrations of the older database: those after them rebuild the column store. */
const OLDER_MIGRATIONS = 6;
const BATCH_ROWS = 1_000;
const PRUNE = ['prune', '--older-than', '30d'];
const OLD_MS = 60 * 86_400_000;

/** What happened to one kind of operation. */
interface Outcome {
  kills: number;
  /** Runs that had ended before they could be killed. */
  ended: number;
  notStarted: number;
  notVerified: number;
  unbalanced: number;
  notRepeatable: number;
  /** Seconds that the server took to start. */
  readonly starts: number[];
}

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '50' }, rows: { type: 'string', default: '20000' } },
});
if (isStraceMissing) process.exit(0);
const kills = Number(values.kills);
const rowCount = Number(values.rows);
using folder = temporaryFolder();
const filled = join(folder.path, 'filled');
const older = join(folder.path, 'older');
const problems: string[] = [];
/** How long the server takes to prune after it has begun, in milliseconds: the longest so far. */
let pruneMs = 0;

await recordRows(filled);
mkdirSync(older);
createOlderDatabase(join(older, 'rawlog.db'), OLDER_MIGRATIONS, (client) =>
  insertMetrics(client, rowCount, { isOlder: true }),
);
const outcomes = {
  prune: await repeat(filled, killedCommand(PRUNE, 'pwrite64', filled), async (dataDir) => {
    await succeed(PRUNE, dataDir);
    return countPresent(dataDir) === rowCount / 2;
  }),
  'prune in the server': await repeat(filled, killServer, async (dataDir) => {
    await succeed(PRUNE, dataDir);
    return countPresent(dataDir) === rowCount / 2;
  }),
  migrate: await repeat(older, killedCommand(['migrate'], 'pwrite64', older), async (dataDir) => {
    await succeed(['migrate'], dataDir);
    return countPresent(dataDir) === rowCount && journal.entries.length === countMigrations(dataDir);
  }),
};
console.log(`${TARGET}: kills during maintenance of ${rowCount} rows`);
printTable([
  ['', 'killed', 'ended before', 'did not start', 'did not verify', 'unbalanced', 'not repeatable', 'start, s'],
  ...Object.entries(outcomes).map(([name, outcome]) => [
    name,
    ...[outcome.kills, outcome.ended, outcome.notStarted, outcome.notVerified, outcome.unbalanced].map(String),
    String(outcome.notRepeatable),
    spread(outcome.starts),
  ]),
]);
for (const problem of problems) console.log(`  ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;

/** Records rows through a server, every second of which is old. */
async function recordRows(dataDir: string): Promise<void> {
  const target = await startTarget(UNLIMITED, { dataDir });
  const timestamp = new Date(Date.now() - OLD_MS).toISOString();
  for (let recorded = 0; recorded < rowCount; recorded += BATCH_ROWS) {
    const metrics = Array.from({ length: Math.min(BATCH_ROWS, rowCount - recorded) }, (_, i) => ({
      ...METRIC,
      metric_name: `name-${i % 5}`,
      data_string: `/${i}`,
      ...(i % 2 === 0 && { timestamp }),
    }));
    const { status, text } = await post(target, '/log_batch', { metrics });
    if (status !== 200) throw new Error(text);
  }
  await target.stop();
}

/** Kills an operation on copies of a data folder until enough runs were killed, and checks what is left. */
async function repeat(
  source: string,
  kill: (dataDir: string) => Promise<boolean>,
  finish: (dataDir: string) => Promise<boolean>,
): Promise<Outcome> {
  const outcome: Outcome = {
    ...{ kills: 0, ended: 0, notStarted: 0, notVerified: 0, unbalanced: 0, notRepeatable: 0 },
    starts: [],
  };
  while (outcome.kills < kills && outcome.ended <= kills) {
    const dataDir = join(folder.path, 'copy');
    cpSync(source, dataDir, { recursive: true });
    if (await kill(dataDir)) outcome.kills++;
    else outcome.ended++;
    await check(dataDir, outcome, finish);
    rmSync(dataDir, { recursive: true });
  }
  return outcome;
}

async function check(dataDir: string, outcome: Outcome, finish: (dataDir: string) => Promise<boolean>): Promise<void> {
  const verify = async () => {
    const { exitCode, stdout, stderr } = await runCli(['verify'], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
    if (exitCode === 0) return;
    outcome.notVerified++;
    problems.push(`verify: ${stdout}${stderr}`);
  };
  if (countMigrations(dataDir) === journal.entries.length) await verify();
  try {
    const startedAt = performance.now();
    const target = await startTarget(UNLIMITED, { dataDir });
    outcome.starts.push((performance.now() - startedAt) / 1000);
    const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    const { ledger } = (await send(`${target.url}/api/status`, { headers })).body;
    const rejected = Object.values(ledger.rejected as Record<string, number>).reduce((sum, items) => sum + items, 0);
    if (ledger.received !== ledger.stored + ledger.duplicates + rejected) {
      outcome.unbalanced++;
      problems.push(`ledger: ${JSON.stringify(ledger)}`);
    }
    await target.stop();
  } catch (error) {
    outcome.notStarted++;
    problems.push((error as Error).message);
    return;
  }
  await verify();
  if (await finish(dataDir).catch((error: Error) => void problems.push(error.message))) return;
  outcome.notRepeatable++;
  problems.push(`the repeated command left ${countPresent(dataDir)} rows`);
}

/** Returns a function that kills a command at a random one of its system calls. */
function killedCommand(args: readonly string[], call: string, source: string): (dataDir: string) => Promise<boolean> {
  let calls: number | undefined;
  return async (dataDir) => {
    if (calls === undefined) {
      using copy = temporaryFolder();
      cpSync(source, copy.path, { recursive: true });
      calls = await countCalls(call, args, copy.path);
    }
    return killAt(call, 1 + Math.floor(Math.random() * calls), args, dataDir);
  };
}

/** Starts a server, and kills it at a random moment while it prunes. Returns whether it was killed before it had ended. */
async function killServer(dataDir: string): Promise<boolean> {
  const target = await startTarget(UNLIMITED, { dataDir });
  let hasEnded = false;
  const command = runCli(PRUNE, { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } }).finally(() => {
    hasEnded = true;
  });
  const client = new Database(target.databasePath, { readonly: true });
  const unfinished = client.query('SELECT 1 FROM deletions WHERE filter IS NOT NULL');
  while (unfinished.get() === null && !hasEnded) await Bun.sleep(1);
  client.close();
  const begunAt = performance.now();
  const end = begunAt + Math.random() * pruneMs;
  // the first run measures how long it takes
  while (!hasEnded && (pruneMs === 0 || performance.now() < end)) await Bun.sleep(1);
  const isKilled = !hasEnded;
  if (hasEnded) pruneMs = Math.max(pruneMs, performance.now() - begunAt);
  await target.stop('SIGKILL');
  await command;
  return isKilled;
}

/** Counts the metrics that are present. */
function countPresent(dataDir: string): number {
  return rows({ databasePath: join(dataDir, 'rawlog.db') }, 'metrics').filter(({ user_id }) => user_id !== '').length;
}

/** Counts the migrations in a copy: reading the database itself would roll back what the kill interrupted. */
function countMigrations(dataDir: string): number {
  using copy = temporaryFolder();
  cpSync(dataDir, copy.path, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  const client = new Database(join(copy.path, 'rawlog.db'), { readwrite: true });
  try {
    return client.query<{ n: number }, []>('SELECT count(*) AS n FROM __drizzle_migrations').get()?.n ?? 0;
  } finally {
    client.close();
  }
}
