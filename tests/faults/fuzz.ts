import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ERRORS } from '../../src/errors.ts';
import { STATUS_BY_CODE } from '../../src/http/status.ts';
import { rows, send } from '../harness/client.ts';
import {
  COMMAND,
  runCli,
  SECRET,
  startTarget,
  TARGET,
  type Target,
  temporaryFolder,
  UNLIMITED,
} from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { createWire, type Outcome, type WireResponse } from '../harness/wire.ts';
import { type FuzzRequest, fuzzRequest, routesOf, type Tokens } from './fuzz-requests.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:fuzz -- [--requests 60000] [--seed N] [--only N]
 *
 * Sends random requests to every route: bodies, queries, headers, hosts, methods, raw bytes. No response may be a 5xx
 * (except overload rejections), every error must have the documented format, and at the end the ledger must balance and
 * `rawlog verify` must succeed. Request N of a seed is the same in each run; `--only N` sends only that request and prints
 * the response.
 */

/** Concurrent connections. */
const CONNECTIONS = 8;
/** Requests per `/healthz` probe. */
const REQUESTS_PER_HEALTH_PROBE = 10;
/** Requests per memory sample. */
const REQUESTS_PER_MEMORY_SAMPLE = 5_000;
/** Maximum number of problems to print. */
const MAX_PRINTED_PROBLEMS = 20;
/** Error codes of overload rejections, which are allowed and counted. */
const OVERLOAD_CODES: readonly string[] = ['overloaded', 'queries_overloaded'];

/** The result of a fuzzing run. */
export interface FuzzReport {
  readonly requests: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly overloads: number;
  readonly problems: readonly string[];
  /** Response times of `/healthz`, in milliseconds. */
  readonly health: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Resident memory of the server, in megabytes, at the start and every {@link REQUESTS_PER_MEMORY_SAMPLE} requests. */
  readonly memory: readonly number[];
}

/** Starts a server and sends it random requests. */
export async function fuzz(requests: number, seed: number): Promise<FuzzReport> {
  using folder = temporaryFolder();
  const env = { ...UNLIMITED, MAX_BODY_BYTES: '65536', LOG_LEVEL: 'warn' };
  // the line that contains the server's URL has level info
  const target = await startTarget({ ...env, LOG_LEVEL: 'info' }, { dataDir: folder.path });
  const problems: string[] = [];
  const byStatus: Record<string, number> = {};
  const health: number[] = [];
  const memory = [residentMegabytes(target)];
  let overloads = 0;
  let acknowledged = 0;
  try {
    const { routes, tokens } = await prepare(target);
    let next = 0;
    const probes: Promise<void>[] = [];
    const client = async () => {
      const wire = createWire(target.url);
      for (let n = next++; n < requests; n = next++) {
        const request = fuzzRequest(n, seed, routes, tokens);
        const outcome = await wire.send(exchangeOf(request));
        const status = typeof outcome === 'string' ? outcome : String(outcome.status);
        byStatus[status] = (byStatus[status] ?? 0) + 1;
        if (typeof outcome !== 'string') {
          acknowledged += countStored(request, outcome);
          if (OVERLOAD_CODES.includes(codeOf(outcome))) overloads++;
        }
        const problem = findProblem(request, outcome);
        if (problem) problems.push(`request ${n}: ${problem}\n${describe(request, outcome)}`);
        if (n % REQUESTS_PER_HEALTH_PROBE === 0) probes.push(probe(target, health, problems));
        if (n > 0 && n % REQUESTS_PER_MEMORY_SAMPLE === 0) memory.push(residentMegabytes(target));
      }
      wire.close();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, client));
    await Promise.all(probes);
    memory.push(residentMegabytes(target));
    problems.push(...(await checkLedger(target, acknowledged)));
    const logged = target.logLines().filter(({ level }) => level === 'error' || level === 'fatal');
    problems.push(...logged.map((line) => `the server logged an error: ${JSON.stringify(line).slice(0, 1_000)}`));
  } finally {
    if ((await target.stop()) !== 0) problems.push('the server did not exit with status 0');
  }
  const { exitCode, stdout } = await runCli(['verify'], { env: { JWT_SECRET: SECRET, DATA_DIR: folder.path } });
  if (exitCode !== 0) problems.push(`verify: ${stdout}`);
  return { requests, byStatus, overloads, problems, health: percentiles(health), memory };
}

async function prepare(target: Target): Promise<{ routes: ReturnType<typeof routesOf>; tokens: Tokens }> {
  const document = (await send(`${target.url}/swagger/json`)).body;
  const tokens = {
    good: await Promise.all(Array.from({ length: 6 }, (_, i) => token({ sub: `user-${i}` }))),
    admin: await token({ sub: 'admin', role: 'admin' }),
    bad: [
      '',
      'Bearer',
      'Bearer x',
      'Bearer a.b.c',
      'Basic dTpw',
      `Bearer ${await token({ exp: 1 })}`,
      `Bearer ${await token({ sub: '' })}`,
      `Bearer ${await token({}, 'b'.repeat(32))}`,
      `Bearer ${await token()}, Bearer ${await token()}`,
      `Bearer ${'t'.repeat(5_000)}`,
    ],
  };
  return { routes: routesOf(document), tokens };
}

/** How long a response may take, in milliseconds. Demos start and stop one after the other, each in a process of its own. */
const TIMEOUT_MS = { usual: 15_000, demo: 120_000 };

function exchangeOf({ bytes, method, endsEarly, isStream }: FuzzRequest) {
  const isDemo = Buffer.from(bytes).subarray(0, 64).includes('/api/demo');
  return {
    ...{ bytes, isHead: method === 'HEAD', endsEarly, maxBody: isStream ? 1 : 256 * 1024 },
    timeoutMs: isDemo ? TIMEOUT_MS.demo : TIMEOUT_MS.usual,
  };
}

/** Returns what is wrong with a response, or undefined. */
function findProblem(request: FuzzRequest, outcome: Outcome): string | undefined {
  if (outcome === 'closed') return request.isBrokenHttp || request.endsEarly ? undefined : 'the connection was closed';
  if (outcome === 'timeout') return request.isStream ? undefined : 'no response';
  const { status, headers, body } = outcome;
  // the HTTP parser rejects requests before the program sees them
  const isFromParser = [400, 431, 505].includes(status) && body.length === 0 && !headers.has('x-request-id');
  if (isFromParser) return request.isBrokenHttp ? undefined : 'rejected by the HTTP parser';
  if (status < 200 || status > 599) return `invalid status ${status}`;
  if (status < 400) return successProblem(request, outcome);
  const code = codeOf(outcome);
  if (status >= 500 && !OVERLOAD_CODES.includes(code)) return `status ${status}`;
  if (request.method === 'HEAD') return undefined;
  return errorProblem(status, headers, body);
}

function successProblem(
  { method, isStream }: FuzzRequest,
  { headers, body, isComplete }: WireResponse,
): string | undefined {
  if (method === 'HEAD' || isStream || !isComplete || body.length === 0) return undefined;
  if (!headers.get('content-type')?.startsWith('application/json')) return undefined;
  return parsed(body) === undefined ? 'the body is not JSON' : undefined;
}

/** Returns how an error response deviates from the documented format, or undefined. */
function errorProblem(status: number, headers: ReadonlyMap<string, string>, body: Buffer): string | undefined {
  if (!headers.get('content-type')?.startsWith('application/json')) return 'the error is not JSON';
  const value = parsed(body);
  if (typeof value !== 'object' || value === null) return 'the error is not a JSON object';
  const { code, message, hint, request_id, detail, ...more } = value as Record<string, unknown>; // of any object
  if (Object.keys(more).length > 0) return 'the error has unknown fields';
  if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code)) return 'the error has no known code';
  if (STATUS_BY_CODE[code as keyof typeof STATUS_BY_CODE] !== status) return 'the status does not match the error code';
  if (typeof message !== 'string' || typeof hint !== 'string') return 'the error lacks a message or hint';
  if (typeof request_id !== 'string' || headers.get('x-request-id') !== request_id)
    return 'request_id does not match the X-Request-Id header';
  if (status === 422 && code === 'validation_failed') return validationProblem(detail);
  if (status >= 500)
    return JSON.stringify(detail) === JSON.stringify({ message, hint }) ? undefined : 'the detail is wrong';
  if (status === 405 && !headers.has('allow')) return 'the 405 has no Allow header';
  if (status !== 422 && detail !== message) return 'the detail is wrong';
  return undefined;
}

function validationProblem(detail: unknown): string | undefined {
  if (!Array.isArray(detail) || detail.length === 0) return 'the 422 lists no validation issues';
  const isIssue = (issue: { loc?: unknown; msg?: unknown; type?: unknown } | null) =>
    Array.isArray(issue?.loc) && typeof issue.msg === 'string' && typeof issue.type === 'string';
  return detail.every(isIssue) ? undefined : 'a validation issue is malformed';
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}

function codeOf({ status, body }: WireResponse): string {
  const value = status >= 400 ? parsed(body) : undefined;
  return typeof value === 'object' && value !== null && 'code' in value ? String(value.code) : '';
}

/** Returns how many items a response acknowledges as newly stored. */
function countStored({ bytes }: FuzzRequest, { status, headers, body }: WireResponse): number {
  if (status !== 200 || headers.has('idempotent-replayed')) return 0;
  const line = bytes.subarray(0, bytes.indexOf('\r\n')).toString('latin1');
  if (!line.startsWith('POST') || !line.includes('/log_')) return 0;
  const value = parsed(body) as string | { metrics: unknown[]; analytics: unknown[] }; // of the recording routes
  return typeof value === 'string' ? 1 : value.metrics.length + value.analytics.length;
}

/** Checks that the ledger balances, matches the rows, and includes all acknowledged items. */
async function checkLedger(target: Target, acknowledged: number): Promise<string[]> {
  const headers = { authorization: `Bearer ${await token({ sub: 'admin', role: 'admin' })}` };
  const { ledger } = (await send(`${target.url}/api/status`, { headers })).body;
  const rejected = Object.values<number>(ledger.rejected).reduce((sum, items) => sum + items, 0);
  const present = (['metrics', 'analytics'] as const)
    .flatMap((table) => rows(target, table))
    .filter(({ user_id }) => user_id !== '').length;
  const problems: string[] = [];
  if (ledger.received !== ledger.stored + ledger.duplicates + rejected) problems.push('the ledger does not balance');
  if (present !== ledger.stored - ledger.deleted)
    problems.push(`the database contains ${present} rows, not stored - deleted`);
  // items may be stored without a response, but not acknowledged without being stored
  if (ledger.stored < acknowledged) problems.push(`${acknowledged} items were acknowledged, more than stored`);
  return problems.map((problem) => `${problem}: ${JSON.stringify(ledger)}`);
}

async function probe(target: Target, health: number[], problems: string[]): Promise<void> {
  const began = performance.now();
  const { status } = await send(`${target.url}/healthz`).catch(() => ({ status: 0 }));
  health.push(performance.now() - began);
  if (status !== 200) problems.push(`/healthz: ${status}`);
}

function percentiles(times: readonly number[]): FuzzReport['health'] {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function residentMegabytes(target: Target): number {
  if (process.platform !== 'linux') return 0;
  const status = readFileSync(`/proc/${target.process.pid}/status`, 'utf8');
  return Math.round(Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
}

function describe({ bytes }: FuzzRequest, outcome: Outcome): string {
  const excerpt = (buffer: Buffer, length: number) => JSON.stringify(buffer.subarray(0, length).toString('latin1'));
  const response =
    typeof outcome === 'string'
      ? outcome
      : `${outcome.status} ${JSON.stringify([...outcome.headers])} ${excerpt(outcome.body, 400)}`;
  return `  sent ${excerpt(bytes, 900)}\n  received ${response}`;
}

/** Sends one request of a seed to a new server. Prints the request and the response. */
async function sendOnly(n: number, seed: number): Promise<void> {
  const target = await startTarget({ ...UNLIMITED, MAX_BODY_BYTES: '65536' });
  const { routes, tokens } = await prepare(target);
  const request = fuzzRequest(n, seed, routes, tokens);
  const outcome = await createWire(target.url).send(exchangeOf(request));
  console.log(describe(request, outcome));
  console.log(findProblem(request, outcome) ?? 'no problem found');
  console.log(target.output().stderr);
  await target.stop();
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { requests: { type: 'string', default: '60000' }, seed: { type: 'string' }, only: { type: 'string' } },
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  if (values.only !== undefined) {
    await sendOnly(Number(values.only), seed);
    process.exit(0);
  }
  const began = performance.now();
  const { requests, byStatus, overloads, problems, health, memory } = await fuzz(Number(values.requests), seed);
  for (const problem of problems.slice(0, MAX_PRINTED_PROBLEMS)) console.log(problem);
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${TARGET} (${COMMAND.at(-1)}), seed ${seed}: ${requests} requests in ${seconds.toFixed(0)} s; responses by status:`,
  );
  console.log(
    `  ${Object.entries(byStatus)
      .map(([status, count]) => `${status}: ${count}`)
      .join(', ')}`,
  );
  const { p50, p99, max } = health;
  console.log(`  /healthz response time: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`);
  console.log(
    `  resident memory, at the start and every ${REQUESTS_PER_MEMORY_SAMPLE} requests: ${memory.join(', ')} MB`,
  );
  console.log(`  ${overloads} overload rejections, ${problems.length} problems`);
  process.exit(problems.length > 0 ? 1 : 0);
}
