import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { printTable } from '../bench/report.ts';
import { METRIC, send } from '../harness/client.ts';
import { startClients } from '../harness/clients.ts';
import { startTarget, TARGET, temporaryFolder } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:rotation -- [--rotations 20] [--requests 500] [--clients 32]
 *
 * Rotates JWT_SECRET under load: adds the new secret below the old one, swaps them, then removes the old one, each time
 * with SIGHUP. No token may be rejected while its secret is in the file, nor accepted after that. --requests is the
 * number of requests with each valid secret in each step.
 */

/** A token, its secret, and how many requests with it are in progress. */
interface Signed {
  readonly secret: string;
  readonly token: string;
  inProgress: number;
  completed: number;
}

const { values } = parseArgs({
  options: {
    rotations: { type: 'string', default: '20' },
    requests: { type: 'string', default: '500' },
    clients: { type: 'string', default: '32' },
  },
});
const requests = Number(values.requests);

let secrets = 0;
async function createSigned(): Promise<Signed> {
  const secret = `secret-number-${++secrets}`.padEnd(32, '-');
  return { secret, token: await token({ exp: secondsFromNow(86_400) }, secret), inProgress: 0, completed: 0 };
}

using folder = temporaryFolder();
const file = join(folder.path, 'secrets');
/** Replaces the file of the secrets. */
function write(list: readonly Signed[]): void {
  writeFileSync(`${file}.new`, list.map(({ secret }) => `${secret}\n`).join(''), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

let oldest = await createSigned();
write([oldest]);
const target = await startTarget(
  { JWT_SECRET_FILE: file, RATE_LIMIT: 'off', AUTH_FAILURE_LIMIT: 'off' },
  { dataDir: join(folder.path, 'data') },
);
/** The tokens that clients use. */
let valid = [oldest];
const counts = { accepted: 0, wronglyRejected: 0, rejected: 0, wronglyAccepted: 0, otherErrors: 0 };
const messages = new Set<string>();

/** Records a metric with a token. Returns the status; 0 if there is no response. */
async function recordWith(signed: Signed): Promise<number> {
  const { status, text } = await send(`${target.url}/log_raw_metric`, {
    method: 'POST',
    body: JSON.stringify(METRIC),
    headers: { authorization: `Bearer ${signed.token}`, 'content-type': 'application/json' },
  }).catch(() => ({ status: 0, text: 'no response' }));
  if (status !== 200 && status !== 401) counts.otherErrors++;
  if (status !== 200) messages.add(text.replace(/"request_id":"[^"]*",?/, ''));
  return status;
}

const clients = startClients(Number(values.clients), async () => {
  const signed = valid[Math.floor(Math.random() * valid.length)] as Signed;
  signed.inProgress++;
  const status = await recordWith(signed);
  signed.inProgress--;
  signed.completed++;
  if (status === 200) counts.accepted++;
  else if (status === 401) counts.wronglyRejected++;
});

/** Waits for a condition while the clients send requests. */
async function waitUntil(condition: () => boolean): Promise<void> {
  while (!condition()) {
    if (target.process.exitCode !== null) throw new Error(`the server exited:\n${target.output().stderr}`);
    await Bun.sleep(1);
  }
}

let reloads = 0;
/** Writes the secrets, sends SIGHUP, and waits until the server has reloaded them. */
async function rotateTo(list: readonly Signed[]): Promise<void> {
  write(list);
  target.process.kill('SIGHUP');
  reloads++;
  await waitUntil(() => target.logLines().filter(({ msg }) => msg === 'secret files reloaded').length >= reloads);
}

/** Waits until requests with each valid token have completed. */
async function exercise(): Promise<void> {
  const goals = valid.map((signed) => ({ signed, goal: signed.completed + requests }));
  await waitUntil(() => goals.every(({ signed, goal }) => signed.completed >= goal));
}

await exercise();
for (let rotation = 0; rotation < Number(values.rotations); rotation++) {
  const old = oldest;
  const added = await createSigned();
  await rotateTo([old, added]);
  valid = [old, added];
  await exercise();
  await rotateTo([added, old]);
  await exercise();
  valid = [added];
  await waitUntil(() => old.inProgress === 0);
  await rotateTo([added]);
  for (let i = 0; i < 10; i++) {
    if ((await recordWith(old)) === 401) counts.rejected++;
    else counts.wronglyAccepted++;
  }
  await exercise();
  oldest = added;
}
await clients.stop();
const exitCode = await target.stop();

console.log(`${TARGET}: ${values.rotations} rotations, ${reloads} reloads, ${values.clients} clients`);
printTable([
  ['token', 'accepted', 'rejected'],
  ['secret in the file', String(counts.accepted), `${counts.wronglyRejected} (must be 0)`],
  ['secret removed', `${counts.wronglyAccepted} (must be 0)`, String(counts.rejected)],
]);
const violations = counts.wronglyRejected + counts.wronglyAccepted + counts.otherErrors + exitCode;
console.log(`  other errors: ${counts.otherErrors}; exit status of the server: ${exitCode}`);
if (violations > 0) for (const message of messages) console.log(`  ${message}`);
process.exitCode = violations > 0 ? 1 : 0;
