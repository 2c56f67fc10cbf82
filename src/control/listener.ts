import fs from 'node:fs';
import { Value } from '@sinclair/typebox/value';
import type { Logger } from 'pino';
import { version } from '../../package.json' with { type: 'json' };
import { ApiError } from '../errors.ts';
import type { JobProgress } from '../storage/job.ts';
import { messageOf } from '../storage/storage-error.ts';
import { reasonOf } from '../system-error.ts';
import {
  CONTROL_COMMANDS,
  CONTROL_PATH,
  type ControlArgument,
  type ControlCommandName,
  type ControlLine,
  type ControlResults,
  HEARTBEAT_MS,
  MAX_BODY_BYTES,
  type ServerIdentity,
} from './protocol.ts';
import { controlSocketPath, createSocketFolder, openSocketAddress } from './socket.ts';

const QUIET_COMMANDS: ReadonlySet<ControlCommandName> = new Set([
  'status',
  'metrics',
  'forward-status',
  'import-batch',
  'import-missing',
  'import-end',
]);

/** What a command gets besides its argument. */
export interface ControlContext {
  /** Sends the progress to the command line. */
  readonly onProgress: (progress: JobProgress) => void;
  /** Aborted when the command line disconnects. */
  readonly signal: AbortSignal;
  /** Reads the body as UTF-8 text. */
  readonly readBody: () => Promise<string>;
}

/** The implementations of the commands. Each resolves with the result, or throws an error whose message is shown. */
export type ControlHandlers = {
  readonly [Name in ControlCommandName]: (
    argument: ControlArgument<Name>,
    context: ControlContext,
  ) => Promise<ControlResults[Name]>;
};

/** A listener on the control socket. */
export interface ControlListener {
  /** Stops accepting commands. Those in progress continue. */
  stop(): void;
  /** Closes all connections and removes the socket. The database must still be locked. */
  close(): Promise<void>;
}

/**
 * Listens on the control socket of a database. The caller must hold the lock of the database: a socket that is found there
 * was left by a killed server, and is replaced.
 *
 * A command that was started runs to its end, even if the command line disconnects.
 *
 * @throws {Error} with a message for the operator, if the socket's folder is not protected or the socket cannot be created
 */
export function listenForCommands(databasePath: string, handlers: ControlHandlers, log: Logger): ControlListener {
  const socketPath = controlSocketPath(databasePath);
  createSocketFolder(socketPath);
  const address = openSocketAddress(socketPath);
  let server: Bun.Server<undefined>;
  try {
    fs.rmSync(socketPath, { force: true });
    server = Bun.serve({
      unix: address.path,
      development: false,
      maxRequestBodySize: MAX_BODY_BYTES,
      fetch(request, listening) {
        listening.timeout(request, 0); // commands may run for hours
        return respond(request, handlers, log);
      },
    });
    fs.chmodSync(socketPath, 0o600);
  } catch (error) {
    address[Symbol.dispose]();
    throw error;
  }
  let closed: Promise<void> | undefined;
  return {
    stop: () => void server.stop(),
    close() {
      closed ??= (async () => {
        await server.stop(true);
        fs.rmSync(socketPath, { force: true });
        address[Symbol.dispose]();
      })();
      return closed;
    },
  };
}

/** Responds to one request. */
function respond(request: Request, handlers: ControlHandlers, log: Logger): Response {
  const url = URL.parse(request.url);
  if (!url) return errorResponse(400, 'The running server does not accept this request.');
  const { pathname, searchParams } = url;
  if (request.method === 'GET' && pathname === CONTROL_PATH) {
    return Response.json({ version, pid: process.pid } satisfies ServerIdentity);
  }
  const name = pathname.slice(CONTROL_PATH.length + 1);
  if (request.method !== 'POST' || !pathname.startsWith(`${CONTROL_PATH}/`) || !isCommand(name)) {
    return errorResponse(404, 'The running server does not know this command.');
  }
  const argument = parseArgument(name, searchParams.get('argument') ?? '');
  if (argument === undefined) return errorResponse(400, 'The running server does not accept these arguments.');
  log[levelOf(name)]({ command: name }, 'command started');
  // the schema of the command's name has checked the argument
  const handler = handlers[name] as (argument: unknown, context: ControlContext) => Promise<unknown>;
  const run = (context: Pick<ControlContext, 'onProgress' | 'signal'>) =>
    handler(argument, { ...context, readBody: () => request.text() });
  return new Response(streamLines(run, name, log), { headers: { 'content-type': 'application/x-ndjson' } });
}

/** Returns the level at which a command is logged. Some only read, and some are repeated many times. */
function levelOf(name: ControlCommandName): 'info' | 'debug' {
  return QUIET_COMMANDS.has(name) ? 'debug' : 'info';
}

function isCommand(name: string): name is ControlCommandName {
  return Object.hasOwn(CONTROL_COMMANDS, name);
}

/** Parses the argument of a command; returns undefined if it does not match the schema. */
function parseArgument(name: ControlCommandName, text: string): unknown {
  try {
    const argument: unknown = JSON.parse(text);
    return Value.Check(CONTROL_COMMANDS[name], argument) ? argument : undefined;
  } catch {
    return undefined;
  }
}

function errorResponse(status: number, message: string): Response {
  return Response.json({ error: { message: `${message} It is version ${version}.` } } satisfies ControlLine, {
    status,
  });
}

/** Runs a command and returns the lines of its response. */
function streamLines(
  run: (context: Pick<ControlContext, 'onProgress' | 'signal'>) => Promise<unknown>,
  name: ControlCommandName,
  log: Logger,
): ReadableStream<Uint8Array> {
  let heartbeat: ReturnType<typeof setInterval> | undefined;
  let isOpen = true;
  const disconnected = new AbortController();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (line: ControlLine) => {
        if (isOpen) controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
      };
      const end = (line: ControlLine) => {
        clearInterval(heartbeat);
        send(line);
        if (isOpen) controller.close();
        isOpen = false;
      };
      send({});
      heartbeat = setInterval(() => send({}), HEARTBEAT_MS);
      run({ onProgress: (progress) => send({ progress }), signal: disconnected.signal }).then(
        (result) => {
          log[levelOf(name)]({ command: name }, 'command finished');
          end({ result });
        },
        (error: unknown) => {
          log.error({ command: name, err: error }, 'command failed');
          end({ error: { message: operatorMessage(error) } });
        },
      );
    },
    cancel() {
      isOpen = false;
      clearInterval(heartbeat);
      disconnected.abort();
    },
  });
}

/** Returns the message of an error with its cause, which callers of the API must not see, but the operator may. */
function operatorMessage(error: unknown): string {
  if (!(error instanceof ApiError)) return messageOf(error);
  return error.cause === undefined ? error.message : `${error.message} Cause: ${reasonOf(error, 'the database')}`;
}
