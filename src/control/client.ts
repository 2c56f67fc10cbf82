import fs from 'node:fs';
import type { JobProgress } from '../storage/job.ts';
import {
  CONTROL_PATH,
  type ControlArgument,
  type ControlCommandName,
  type ControlLine,
  type ControlResults,
  type ServerIdentity,
} from './protocol.ts';
import { controlSocketPath, openSocketAddress, untrustedFolderProblem } from './socket.ts';

/** How long a server may take to respond that it is there, in milliseconds: longer than its longest pause. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Errors of a socket that nobody listens on: it does not exist, or its server was killed. */
const NO_LISTENER_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED']);

/** Options of {@link RunningServer.run}. */
export interface RunOptions {
  readonly onProgress?: (progress: JobProgress) => void;
  /** Disconnects when aborted. The server still finishes the command. */
  readonly signal?: AbortSignal;
  /** Sent as the body. */
  readonly body?: string;
}

/** A connection to the running server of a database. */
export interface RunningServer extends ServerIdentity, Disposable {
  /**
   * Runs a command in the server.
   *
   * @throws {Error} with a message for the operator, if the command fails or the server stops meanwhile
   */
  run<Name extends ControlCommandName>(
    name: Name,
    argument: ControlArgument<Name>,
    options?: RunOptions,
  ): Promise<ControlResults[Name]>;
}

/**
 * Connects to the server that has a database open.
 *
 * @returns undefined if there is no control socket, or nobody listens on it
 * @throws {Error} with a message for the operator, if the socket may be another user's, or the server does not respond
 */
export async function connectToServer(databasePath: string): Promise<RunningServer | undefined> {
  const socketPath = controlSocketPath(databasePath);
  if (!socketExists(socketPath)) return undefined;
  const problem = untrustedFolderProblem(socketPath);
  if (problem) throw new Error(problem);
  const address = openSocketAddress(socketPath);
  const request = (path: string, init: RequestInit = {}) =>
    fetch(`http://rawlog${CONTROL_PATH}${path}`, { ...init, unix: address.path, redirect: 'error' });
  try {
    const identity = await readIdentity(request);
    return { ...identity, run: (...call) => runCommand(request, ...call), [Symbol.dispose]: address[Symbol.dispose] };
  } catch (error) {
    address[Symbol.dispose]();
    if (NO_LISTENER_CODES.has(codeOf(error))) return undefined;
    if (error instanceof DOMException && error.name === 'TimeoutError') {
      throw new Error(
        `A server has the database open, but does not respond within ${CONNECT_TIMEOUT_MS / 1000} s. Retry, or restart it.`,
      );
    }
    throw error;
  }
}

type SendRequest = (path: string, init?: RequestInit) => Promise<Response>;

/** Returns whether there is a socket. A folder that this user may not open counts as none. */
function socketExists(path: string): boolean {
  try {
    return fs.lstatSync(path).isSocket();
  } catch {
    return false;
  }
}

async function readIdentity(request: SendRequest): Promise<ServerIdentity> {
  const response = await request('', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
  const { version, pid } = (await response.json()) as ServerIdentity; // every version of the protocol returns both
  return { version, pid };
}

async function runCommand<Name extends ControlCommandName>(
  request: SendRequest,
  name: Name,
  argument: ControlArgument<Name>,
  { onProgress = () => {}, signal, body }: RunOptions = {},
): Promise<ControlResults[Name]> {
  const query = new URLSearchParams({ argument: JSON.stringify(argument) });
  try {
    const response = await request(`/${name}?${query}`, {
      method: 'POST',
      ...(signal && { signal }),
      ...(body !== undefined && { body }),
    });
    for await (const line of linesOf(response)) {
      if (line.progress) onProgress(line.progress);
      if (line.error) throw new CommandError(line.error.message);
      if ('result' in line) return line.result as ControlResults[Name]; // the server runs the handler of that name
    }
  } catch (error) {
    if (error instanceof CommandError || signal?.aborted) throw error;
    throw new Error(STOPPED, { cause: error });
  }
  throw new Error(STOPPED);
}

const STOPPED = 'The server stopped before it had finished the command. Once it runs again, run the command again.';

/** An error that the server reports. */
class CommandError extends Error {}

/** Yields the lines of a response. An incomplete last line is dropped. */
async function* linesOf({ body }: Response): AsyncGenerator<ControlLine> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body ?? []) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as ControlLine; // from the same protocol
  }
  // an error response is a single object
  if (rest.startsWith('{"error"')) yield JSON.parse(rest) as ControlLine;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
