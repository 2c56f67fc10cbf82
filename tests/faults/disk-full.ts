import { Database } from 'bun:sqlite';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readFreeBytes } from '../../src/free-bytes.ts';
import { printTable } from '../bench/report.ts';
import { ANALYTICS, type HttpResponse, send } from '../harness/client.ts';
import { startClients } from '../harness/clients.ts';
import { countStored } from '../harness/stored-ids.ts';
import { runCli, SECRET, startTarget, TARGET, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { loopVolume, noVolumes } from './volume.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:disk-full -- [--cycles 3] [--full-seconds 5] [--size-mb 512] [--piece-mb 64]
 *   [--min-free-mb 32] [--data-bytes 4000]
 *
 * Fills a small file system with events until recording stops, frees a piece of it, and so on. Prints the responses of
 * each second. With --min-free-mb 0, the disk really becomes full. Requires root.
 */

const CLIENTS = 16;
const MEGABYTE = 1024 ** 2;
/** Pause of the client that queries, in milliseconds. */
const QUERY_PAUSE_MS = 20;
/** How long recording may take to stop or to resume, in milliseconds. */
const PATIENCE_MS = 120_000;

/** What happened in one second. */
interface Second {
  stored: number;
  storageFull: number;
  otherUnavailable: number;
  other: number;
  queries: number;
  failedQueries: number;
  freeMegabytes: number;
  /** What the script did. */
  event: string;
}

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '3' },
    'full-seconds': { type: 'string', default: '5' },
    'size-mb': { type: 'string', default: '512' },
    'piece-mb': { type: 'string', default: '64' },
    'min-free-mb': { type: 'string', default: '32' },
    'data-bytes': { type: 'string', default: '4000' },
  },
});
if (noVolumes) {
  console.error(`SKIPPED: cannot fill a disk: ${noVolumes}`);
  process.exit(0);
}
const cycles = Number(values.cycles);
const bytesOf = (megabytes: string) => Number(megabytes) * MEGABYTE;

using volume = loopVolume(undefined, bytesOf(values['size-mb']));
const dataDir = join(volume.path, 'data');
const pieceOf = (cycle: number) => join(volume.path, `piece-${cycle}`);
for (let cycle = 0; cycle < cycles; cycle++) writeFileSync(pieceOf(cycle), Buffer.alloc(bytesOf(values['piece-mb'])));
const target = await startTarget({ ...UNLIMITED, MIN_FREE_BYTES: String(bytesOf(values['min-free-mb'])) }, { dataDir });
const headers = {
  authorization: `Bearer ${await token({ role: 'admin', exp: secondsFromNow(86_400) })}`,
  'content-type': 'application/json',
};
const body = JSON.stringify({ ...ANALYTICS, data: { filler: 'x'.repeat(Number(values['data-bytes'])) } });
const startedAt = performance.now();
const timeline: Second[] = [];
const acknowledged: string[] = [];
const problems: string[] = [];

/** Returns the entry of the current second. */
function now(): Second {
  const index = Math.floor((performance.now() - startedAt) / 1000);
  while (timeline.length <= index) {
    const counts = { stored: 0, storageFull: 0, otherUnavailable: 0, other: 0, queries: 0, failedQueries: 0 };
    timeline.push({ ...counts, freeMegabytes: readFreeBytes(volume.path) / MEGABYTE, event: '' });
  }
  return timeline[index] as Second;
}

/** Sends a request; returns undefined if there is no response. */
function request(path: string, init: BunFetchRequestInit = {}): Promise<HttpResponse | undefined> {
  return send(target.url + path, { headers, ...init }).catch(() => undefined);
}

async function record(): Promise<void> {
  const response = await request('/log_raw_analytics', { method: 'POST', body });
  if (response?.status === 200) {
    acknowledged.push(response.body);
    now().stored++;
  } else if (response?.status !== 503) now().other++;
  else if (response.body.code === 'storage_full') now().storageFull++;
  else now().otherUnavailable++;
}

async function query(): Promise<void> {
  const response = await request(`/api/analytics/counts?type=${ANALYTICS.type}&interval=minute`);
  if (response?.status === 200) now().queries++;
  else now().failedQueries++;
  await Bun.sleep(QUERY_PAUSE_MS);
}

/** Waits for a condition. Returns how long that took in seconds; undefined if the server exited or it took too long. */
async function waitUntil(condition: () => boolean): Promise<number | undefined> {
  const from = performance.now();
  while (!condition()) {
    if (target.process.exitCode !== null || performance.now() > from + PATIENCE_MS) return undefined;
    await Bun.sleep(10);
  }
  return (performance.now() - from) / 1000;
}

const total = (key: keyof Omit<Second, 'event'>) => timeline.reduce((sum, second) => sum + second[key], 0);
const recorders = startClients(CLIENTS, record);
const reader = startClients(1, query);
for (let cycle = 0; cycle <= cycles; cycle++) {
  if (cycle > 0) {
    const stored = total('stored');
    rmSync(pieceOf(cycle - 1));
    now().event = `freed ${values['piece-mb']} MB`;
    const seconds = await waitUntil(() => total('stored') > stored);
    if (seconds === undefined) problems.push(`recording did not resume after piece ${cycle} was freed`);
    else now().event += ` (recording resumed after ${seconds.toFixed(1)} s)`;
  }
  // each client may have a rejection on its way
  const rejected = total('storageFull') + CLIENTS;
  if ((await waitUntil(() => total('storageFull') > rejected)) === undefined) {
    problems.push('recording did not stop with storage_full');
    break;
  }
  now().event += ' full';
  await Bun.sleep(Number(values['full-seconds']) * 1000);
}
await Promise.all([recorders.stop(), reader.stop()]);
const exitCode = await target.stop();
if (exitCode !== 0) problems.push(`the server exited with status ${exitCode}`);
const verified = await runCli(['verify'], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
if (verified.exitCode !== 0) problems.push(`verify: ${verified.stdout}${verified.stderr}`);
const client = new Database(target.databasePath, { readonly: true });
const lost = acknowledged.length - countStored(client, acknowledged, 'analytics');
client.close();
if (lost > 0) problems.push(`${lost} acknowledged rows are missing`);
for (const key of ['otherUnavailable', 'other', 'failedQueries'] as const) {
  if (total(key) > 0) problems.push(`${key}: ${total(key)}`);
}

console.log(
  `${TARGET}: ${values['size-mb']} MB disk, MIN_FREE_BYTES of ${values['min-free-mb']} MB, ${CLIENTS} clients`,
);
printTable([
  ['second', '200', '503 storage_full', '503 other', 'other', 'queries', 'failed queries', 'free MB', ''],
  ...timeline.map((second, i) => [
    String(i),
    ...[second.stored, second.storageFull, second.otherUnavailable, second.other].map(String),
    ...[second.queries, second.failedQueries].map(String),
    second.freeMegabytes.toFixed(0),
    second.event,
  ]),
]);
console.log(
  `  ${acknowledged.length} rows acknowledged, ${lost} lost, ${total('storageFull')} rejected; ${total('queries')} queries, ${total('failedQueries')} failed`,
);
for (const problem of problems) console.log(`  ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
