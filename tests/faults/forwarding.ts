import { Database } from 'bun:sqlite';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { printHeader, printTable } from '../bench/report.ts';
import { quantile } from '../bench/statistics.ts';
import { METRIC, send } from '../harness/client.ts';
import { startClients } from '../harness/clients.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';
import { FAULT_USERS, FAULTY_ENGINES, type Phase } from './forwarding-engines.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:forwarding -- --engine clickhouse|postgres|nats
 *   [--nodes 3] [--seconds 20] [--clients 4] [--rows 10] [--postgres-version 15|18]
 *
 * Several servers record at full rate and forward to one engine while its parts, and then the servers, are killed and
 * return. Clients repeat each batch with the same Idempotency-Key until it is acknowledged. In the end, each acknowledged row
 * must be in the engine exactly once, as a reader sees it (in ClickHouse, with FINAL). In PostgreSQL, rows of a user who is missing
 * are postponed meanwhile. --clients is per server, --rows per
 * batch, and --seconds per phase. Latencies are those of acknowledged attempts: the time without a server is in the rate.
 */

/**
 * Every so many batches are those of the engine's late user, up to a number that leaves each server far from the 10,000 rows
 * that it postpones.
 */
const LATE_EVERY = 20;
const LATE_BATCHES = 300;
/** How long the servers may take to deliver the remaining rows, in milliseconds. */
const CATCH_UP_MS = 1_800_000;

/** What clients experienced in one phase. */
interface Experience {
  readonly latencies: number[];
  /** Attempts without a response, or with another status than 200. */
  failed: number;
}

/** A server that can be killed, and the IDs that it has acknowledged. */
class Node {
  readonly acknowledged: string[] = [];
  readonly #number: number;
  readonly #dataDir: string;
  readonly #url: string;
  #target: Target | undefined;

  constructor(number: number, folder: string, url: string) {
    this.#number = number;
    this.#dataDir = join(folder, `node-${number}`);
    this.#url = url;
  }

  get #running(): Target {
    if (!this.#target) throw new Error(`node ${this.#number} was not started`);
    return this.#target;
  }

  async start(): Promise<void> {
    const env = { ...UNLIMITED, FORWARD_URL: this.#url, NODE_ID: `node_${this.#number}` };
    this.#target = await startTarget(env, { dataDir: this.#dataDir });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#running.stop(signal);
  }

  /** Records a batch, and repeats it until it is acknowledged. */
  async record(body: string, headers: Record<string, string>, experience: () => Experience): Promise<void> {
    for (;;) {
      const startedAt = performance.now();
      const response = await send(`${this.#running.url}/log_batch`, { method: 'POST', headers, body }).catch(
        () => undefined,
      );
      if (response?.status === 200) {
        experience().latencies.push(performance.now() - startedAt);
        this.acknowledged.push(...response.body.metrics);
        return;
      }
      experience().failed++;
      // a server that is not there refuses connections at once
      if (response === undefined) await Bun.sleep(10);
    }
  }

  /** Returns the rows that are to be delivered, and those that were postponed. */
  async waiting(headers: Record<string, string>): Promise<{ lag: number; postponed: number }> {
    const { lag_rows: lag, postponed } = await this.#sink(headers);
    return { lag, postponed };
  }

  /** Returns the number of rows that the engine has not accepted, after the server has tried those that wait again. */
  async setAside(headers: Record<string, string>): Promise<number> {
    const { name } = await this.#sink(headers);
    const env = { ...UNLIMITED, DATA_DIR: this.#dataDir };
    const { exitCode, stderr } = await runCli(['forward', 'retry', name], { env });
    if (exitCode !== 0) throw new Error(`forward retry: ${stderr}`);
    const { postponed, dead_letters } = await this.#sink(headers);
    return postponed + dead_letters;
  }

  async #sink(headers: Record<string, string>) {
    for (;;) {
      const [sink] = (await send(`${this.#running.url}/api/status`, { headers })).body.sinks;
      if (sink !== undefined) return sink; // shortly after a start, there is none
    }
  }

  /** Returns the IDs of all stored metrics. */
  storedIds(): string[] {
    using database = new Database(this.#running.databasePath, { readonly: true });
    return database
      .query<{ id: string }, []>('SELECT id FROM metric_records')
      .all()
      .map(({ id }) => id);
  }
}

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'clickhouse' },
    nodes: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '20' },
    clients: { type: 'string', default: '4' },
    rows: { type: 'string', default: '10' },
    'postgres-version': { type: 'string' },
  },
});
const chosen = FAULTY_ENGINES[values.engine];
if (!chosen) throw new Error(`--engine must be one of ${Object.keys(FAULTY_ENGINES).join(', ')}`);
const version = values['postgres-version'];
const missing = chosen.missing(version);
if (missing !== undefined) throw new Error(`${values.engine} cannot run here: ${missing}`);
const [nodeCount, seconds, clientCount, rowsPerBatch] = [values.nodes, values.seconds, values.clients, values.rows].map(
  Number,
) as [number, number, number, number];

using folder = temporaryFolder();
await using engine = await chosen.start(version);
await using started = new AsyncDisposableStack();
printHeader(`Forwarding of ${nodeCount} servers to ${engine.title}, with faults`, 'none');
const nodes = Array.from({ length: nodeCount }, (_, i) => new Node(i + 1, folder.path, engine.url));
for (const node of nodes) {
  await node.start();
  started.defer(() => node.stop());
}

const exp = secondsFromNow(86_400);
const tokens = await Promise.all(FAULT_USERS.map((sub) => token({ sub, exp })));
const lateToken = engine.lateUser === undefined ? undefined : await token({ sub: engine.lateUser, exp });
const asAdmin = { authorization: `Bearer ${await token({ role: 'admin', exp })}` };
const body = JSON.stringify({ metrics: Array(rowsPerBatch).fill(METRIC) });
let experience: Experience = { latencies: [], failed: 0 };
let batches = 0;
const clients = startClients(nodeCount * clientCount, async (client) => {
  const batch = batches++;
  const isLate = batch % LATE_EVERY === 0 && batch < LATE_EVERY * LATE_BATCHES;
  const headers = {
    authorization: `Bearer ${(isLate ? lateToken : undefined) ?? tokens[batch % tokens.length]}`,
    'content-type': 'application/json',
    'idempotency-key': `batch-${batch}`,
  };
  await nodes[client % nodeCount]?.record(body, headers, () => experience);
});

const KILLED_NODE = 'a server killed and started';
let unnoticedKills = 0;
let mostPostponed = 0;
const [firstNode] = nodes as [Node];
const phases: readonly Phase[] = [
  { name: 'before', begin() {} },
  ...engine.phases,
  {
    name: KILLED_NODE,
    async begin() {
      await firstNode.stop('SIGKILL');
      await firstNode.start();
    },
  },
  { name: 'after', begin() {} },
];
const table = [['phase', 'rows/s', 'p50 ms', 'p99 ms', 'max ms', 'not 200', 'lag at its end, rows']];
for (const phase of phases) {
  const measured: Experience = { latencies: [], failed: 0 };
  experience = measured;
  const startedAt = performance.now();
  await Promise.all([phase.begin(), Bun.sleep(seconds * 1000)]);
  if (phase.name === KILLED_NODE && measured.failed === 0) unnoticedKills++;
  const rate = (measured.latencies.length * rowsPerBatch * 1000) / (performance.now() - startedAt);
  const waiting = await Promise.all(nodes.map((node) => node.waiting(asAdmin)));
  mostPostponed = Math.max(mostPostponed, ...waiting.map(({ postponed }) => postponed));
  const times = [
    quantile(measured.latencies, 0.5),
    quantile(measured.latencies, 0.99),
    quantile(measured.latencies, 1),
  ];
  table.push([
    phase.name,
    rate.toFixed(0),
    ...times.map((time) => time.toFixed(1)),
    String(measured.failed),
    String(waiting.reduce((sum, { lag }) => sum + lag, 0)),
  ]);
}
await clients.stop();
const stoppedAt = performance.now();
while ((await Promise.all(nodes.map((node) => node.waiting(asAdmin)))).some(({ lag }) => lag > 0)) {
  if (performance.now() - stoppedAt > CATCH_UP_MS) throw new Error('the servers did not catch up');
  await Bun.sleep(100);
}
while ((await Promise.all(nodes.map((node) => node.setAside(asAdmin)))).some((rows) => rows > 0)) {
  if (performance.now() - stoppedAt > CATCH_UP_MS) throw new Error('the engine still rejects rows');
}
const caughtUpAfter = (performance.now() - stoppedAt) / 1000;
printTable(table);

const delivered = await engine.ids();
const distinct = new Set(delivered);
const acknowledged = nodes.flatMap((node) => node.acknowledged);
const stored = nodes.flatMap((node) => node.storedIds());
const problems = {
  'acknowledged, but not stored': acknowledged.length - new Set(stored).intersection(new Set(acknowledged)).size,
  'stored, but not in the engine': stored.filter((id) => !distinct.has(id)).length,
  'in the engine more than once': delivered.length - distinct.size,
  'in the engine, but not stored': distinct.difference(new Set(stored)).size,
  'servers that acknowledged nothing': nodes.filter((node) => node.acknowledged.length === 0).length,
  'kills that no request noticed': unnoticedKills,
  'runs in which no row of the missing user was postponed': lateToken !== undefined && mostPostponed === 0 ? 1 : 0,
};
console.log(`\n  caught up ${caughtUpAfter.toFixed(1)} s after the end of recording`);
if (lateToken !== undefined) console.log(`  ${mostPostponed} rows of a missing user were postponed on one server`);
console.log(`  ${acknowledged.length} rows acknowledged, ${stored.length} stored, ${delivered.length} in the engine`);
for (const [name, count] of Object.entries(problems)) console.log(`  ${name}: ${count} (must be 0)`);
process.exitCode = Object.values(problems).some((count) => count > 0) ? 1 : 0;
