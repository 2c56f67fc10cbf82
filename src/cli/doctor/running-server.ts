import { readFileSync } from 'node:fs';
import { version } from '../../../package.json' with { type: 'json' };
import type { Config } from '../../config.ts';
import type { RunningServer } from '../../control/client.ts';
import { listenProblem } from '../../http/listener.ts';
import type { OperatorStatus } from '../../responses.ts';
import { lockPath } from '../../storage/database.ts';
import { describeProcess, listenerOn, lockHolder } from '../../system-process.ts';
import { type Finding, problemsOf } from './finding.ts';

/** Number of file descriptors below which a server can serve few clients at once. */
const FEW_DESCRIPTORS = 1024;
/** Fraction of the connection limit from which idle connections are closed early. */
const CROWDED_FRACTION = 3 / 4;

/** Checks the running server of the database. */
export async function checkServer(server: RunningServer): Promise<Finding[]> {
  const findings: Finding[] = [];
  const problem = problemsOf('server');
  const process = describeProcess(server.pid);
  if (server.version !== version) {
    findings.push(
      problemsOf('version')(
        `The running server is version ${server.version}, this command is version ${version}.`,
        'Restart the server to run the installed version.',
        process,
      ),
    );
  }
  const status = await server.run('status', {});
  if (status.query_worker.state !== 'running') {
    findings.push(
      problem(
        'The query worker does not run: queries fail, but recording continues.',
        'The server restarts it by itself. If it keeps exiting, look for the reason in the log.',
        process,
      ),
    );
  }
  findings.push(...checkSinks(status));
  const metrics = await server.run('metrics', {});
  const dropped = metricOf(metrics, 'rawlog_log_lines_dropped_total');
  if (dropped > 0) {
    findings.push(
      problemsOf('log')(
        `The server has dropped ${dropped} log lines, because standard error was not read or could not be written.`,
        'Check the disk and the service that collect its log.',
        process,
      ),
    );
  }
  const [open, most] = [metricOf(metrics, 'rawlog_connections'), metricOf(metrics, 'rawlog_connections_max')];
  if (open >= most * CROWDED_FRACTION) {
    findings.push(
      problemsOf('file-limit')(
        `The server has ${open} of at most ${most} connections open, and closes idle ones early.`,
        'Raise LimitNOFILE or "ulimit -n", or look for clients that never close connections.',
        process,
      ),
    );
  }
  findings.push(...checkDescriptors(server.pid));
  return findings;
}

/** Checks the engines that records are forwarded to. */
function checkSinks({ sinks = [] }: Partial<Pick<OperatorStatus, 'sinks'>>): Finding[] {
  const problem = problemsOf('forwarding');
  return sinks.flatMap(({ name, state, reason, dead_letters: dead, pending_erasures: erasures }) => [
    ...(state === 'failing'
      ? [
          problem(
            'An engine does not accept the records that are forwarded to it. They are kept, and delivered later.',
            'Check the engine and FORWARD_URL. The server retries by itself.',
            `${name}: ${reason}`,
          ),
        ]
      : []),
    ...(dead > 0
      ? [
          problem(
            `An engine has rejected ${dead} records: they are dead letters.`,
            'Run "rawlog forward dead SINK" to see why, and "rawlog forward retry SINK" once the cause is fixed.',
            name,
          ),
        ]
      : []),
    ...(erasures > 0 && state !== 'failing'
      ? [
          problem(
            `An engine has not repeated ${erasures} erasures yet.`,
            'If this lasts for more than a few minutes, look for the reason in the log.',
            name,
          ),
        ]
      : []),
  ]);
}

/** Checks whether a server could start: that nobody else has the database open or listens on its address. */
export async function checkStart({ databasePath, host, port }: Config): Promise<Finding[]> {
  const findings: Finding[] = [];
  const holder = lockHolder(lockPath(databasePath));
  if (holder !== undefined) {
    findings.push(
      problemsOf('database-lock')(
        'Another process has the database open, but does not accept commands.',
        'Wait until it has ended if it is a command or starting; otherwise stop it. If it is a server, its log tells why it has no control socket.',
        describeProcess(holder),
      ),
    );
  }
  const reason = port === 0 ? undefined : tryListening(host, port);
  if (reason !== undefined) {
    const owner = listenerOn(port);
    findings.push(
      problemsOf('address')(
        'The server could not listen on HOST and PORT (--host, --port).',
        'Stop the process that uses the port, or change HOST or PORT.',
        `${reason}${owner === undefined ? '' : ` It is ${describeProcess(owner)}.`}`,
      ),
    );
  }
  findings.push(...checkDescriptors('self'));
  return findings;
}

/** Listens on an address for a moment. Returns why that fails, or undefined. */
function tryListening(host: string, port: number): string | undefined {
  try {
    void Bun.serve({ hostname: host, port, reusePort: false, fetch: () => new Response() }).stop(true);
    return undefined;
  } catch (error) {
    return listenProblem(error, host, port) ?? (error as Error).message; // Bun throws only errors
  }
}

function checkDescriptors(pid: number | 'self'): Finding[] {
  const limit = descriptorLimit(pid);
  if (limit === undefined || limit >= FEW_DESCRIPTORS) return [];
  return [
    problemsOf('file-limit')(
      `A server may open only ${limit} files, which also limits its connections.`,
      'Raise LimitNOFILE or "ulimit -n" to 65536, and restart the server.',
    ),
  ];
}

/** Returns the limit of open files of a process; undefined if unknown or unlimited. */
function descriptorLimit(pid: number | 'self'): number | undefined {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined; // outside Linux, or a process of another user
  }
}

/** Returns the value of a metric without labels; 0 if there is none. */
function metricOf(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
}
