import { Database } from 'bun:sqlite';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fillDatabase } from '../bench/fill.ts';
import { type Load, load, type Round } from '../bench/load.ts';
import type { Pair } from '../bench/pairs.ts';
import { comparisonRow, printHeader, printTable } from '../bench/report.ts';
import { benchToken, type LoadedServer, startService } from '../bench/servers.ts';
import { spread } from '../bench/statistics.ts';
import { succeed } from '../harness/backups.ts';
import { METRIC, send } from '../harness/client.ts';
import { startClients } from '../harness/clients.ts';
import { countStored } from '../harness/stored-ids.ts';
import { temporaryFolder } from '../harness/target.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:backup -- [--backups 100] [--restores 10] [--rows 1000000] [--seconds 5]
 *
 * Backs up a server at its peak load: 64 connections of wrk, and four clients that send batches and keep the
 * acknowledged IDs. Windows with backups, one after the other, alternate with equally long ones without. Each backup is
 * verified; some are restored and verified again, and must contain each ID acknowledged before they began.
 */

const CONNECTIONS = 64;
const BATCH_CLIENTS = 4;
const BATCH_ROWS = 50;
const MEGABYTE = 1e6;

/** A backup, and how many IDs had been acknowledged before it began. */
interface Backup {
  readonly file: string;
  readonly acknowledged: number;
  readonly seconds: number;
  readonly megabytes: number;
}

/** A server with load, whose acknowledged IDs are kept. */
class LoadedDatabase {
  readonly ids: string[] = [];
  failed = 0;
  readonly #server: LoadedServer;
  readonly #options: Load;
  readonly #body = JSON.stringify({ metrics: Array(BATCH_ROWS).fill(METRIC) });

  constructor(server: LoadedServer, options: Load) {
    this.#server = server;
    this.#options = options;
  }

  /** Loads the server for one window, and runs a task meanwhile. */
  async measure(task: () => Promise<void> = async () => {}): Promise<Round> {
    const clients = startClients(BATCH_CLIENTS, () => this.#record());
    const [round] = await Promise.all([load(this.#server, this.#options), task()]);
    await clients.stop();
    return round;
  }

  async #record(): Promise<void> {
    const headers = { authorization: `Bearer ${this.#options.token}`, 'content-type': 'application/json' };
    const response = await send(`${this.#server.url}/log_batch`, { method: 'POST', headers, body: this.#body });
    if (response.status === 200) this.ids.push(...response.body.metrics);
    else this.failed++;
  }
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return (performance.now() - startedAt) / 1000;
}

const { values } = parseArgs({
  options: {
    backups: { type: 'string', default: '100' },
    restores: { type: 'string', default: '10' },
    rows: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '5' },
  },
});
const [backupCount, restoreCount, seconds] = [values.backups, values.restores, values.seconds].map(Number) as [
  number,
  number,
  number,
];

printHeader('Backups under full load', 'load');
using folder = temporaryFolder();
const dataDir = join(folder.path, 'data');
fillDatabase(dataDir, Number(values.rows));
const service = await startService(dataDir, { isPinned: false });
const database = new LoadedDatabase(service, { connections: CONNECTIONS, seconds, token: await benchToken() });
const pairs: Pair<Round, Round>[] = [];
const backups: Backup[] = [];
const verifications: number[] = [];
const restores: number[] = [];
const problems: string[] = [];
try {
  await database.measure();
  for (let checked = 0; backups.length < backupCount; checked = backups.length) {
    const during = await database.measure(backUpForOneWindow);
    pairs.push([during, await database.measure()]);
    for (const [i, backup] of backups.entries()) if (i >= checked) await check(i, backup);
  }
} finally {
  await service.target.stop();
}
report();
process.exitCode = problems.length > 0 ? 1 : 0;

/** Makes backups, one after the other, until the window has ended. */
async function backUpForOneWindow(): Promise<void> {
  const end = performance.now() + seconds * 1000;
  do {
    const file = join(folder.path, `${backups.length}.tar`);
    const acknowledged = database.ids.length;
    const duration = await timed(() => succeed(['backup', file], dataDir));
    backups.push({ file, acknowledged, seconds: duration, megabytes: statSync(file).size / MEGABYTE });
  } while (performance.now() < end && backups.length < backupCount);
}

/** Verifies a backup, restores it if it is its turn, and deletes it. */
async function check(number: number, { file, acknowledged }: Backup): Promise<void> {
  try {
    verifications.push(await timed(() => succeed(['verify', file], dataDir)));
    if ((number + 1) % Math.ceil(backupCount / restoreCount) !== 0) return;
    const restored = join(folder.path, 'restored');
    restores.push(await timed(() => succeed(['restore', file], restored)));
    await succeed(['verify'], restored);
    const client = new Database(join(restored, 'rawlog.db'), { readonly: true });
    const lost = acknowledged - countStored(client, database.ids.slice(0, acknowledged));
    client.close();
    if (lost > 0) problems.push(`backup ${number}: ${lost} of ${acknowledged} IDs acknowledged before it are missing`);
    rmSync(restored, { recursive: true });
  } catch (error) {
    problems.push(`backup ${number}: ${(error as Error).message}`);
  } finally {
    rmSync(file, { force: true });
  }
}

function report(): void {
  if (database.failed > 0) problems.push(`${database.failed} requests were rejected`);
  console.log(
    `${pairs.length} pairs of windows of ${seconds} s, ${CONNECTIONS} connections and ${BATCH_CLIENTS} clients`,
  );
  printTable([
    ['median (min to max)', 'during backups', 'between backups', 'during / between'],
    comparisonRow('requests per second', pairs, 'rate', 0),
    comparisonRow('p99 latency, ms', pairs, 'p99'),
    comparisonRow('slowest acknowledged request, ms', pairs, 'max'),
  ]);
  const rowOf = (name: string, list: readonly number[], digits?: number) => [
    name,
    String(list.length),
    list.length > 0 ? spread(list, digits) : '-',
  ];
  const durations = backups.map((backup) => backup.seconds);
  const sizes = backups.map(({ megabytes }) => megabytes);
  printTable([
    ['', 'number', 'median (min to max)'],
    rowOf('backup, s', durations),
    rowOf('size, MB', sizes, 0),
    rowOf('verification, s', verifications),
    rowOf('restore, s', restores),
  ]);
  console.log(
    `  ${database.ids.length} acknowledged IDs checked, ${database.failed} requests failed, ${problems.length} problems`,
  );
  for (const problem of problems) console.log(`  ${problem}`);
}
