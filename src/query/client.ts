import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { ApiError, type ValidationIssue } from '../errors.ts';
import type { ExportQuery } from '../export/export.ts';
import type { Job } from '../storage/job.ts';
import { CANCEL_ALL, ClientDisconnectedError, type QueryCaller } from './caller.ts';
import type { IngestLag, Maintenance, Queries } from './engine.ts';
import { createExports } from './exports.ts';
import { createFairQueue } from './fair-queue.ts';
import type { Message, Outcome, Task, TaskError, WorkerOptions } from './worker.ts';

/** Delays before the worker is started again after it has ended, in milliseconds: doubled each time. */
const RESTART_DELAY = { first: 100, longest: 30_000 };
/** For how long a worker must run until its earlier failures no longer count, in milliseconds. */
const STABLE_AFTER = 30_000;
/** For how long a worker that is asked to close may finish what it is doing, in milliseconds. */
const CLOSE_DEADLINE = 1_000;

/** How long the status waits for figures of the worker, in milliseconds. */
const STATUS_DEADLINE = 250;

/** What a query returns, and how far the column store lagged behind recording when it ran. */
export interface QueryResult<Value> {
  readonly value: Value;
  readonly lag: IngestLag;
}

/** The state of the query worker, for `/readyz` and status. */
export interface WorkerHealth {
  /** `restarting`: it has ended by itself, and is not ready again. */
  readonly state: 'running' | 'restarting' | 'stopped';
  /** Restarts since the server started. */
  readonly restarts: number;
  /** Whether a query has found the database damaged. */
  readonly isDamaged: boolean;
}

type Result<Job_> = Job_ extends Job<infer Value> ? Value : never;

/** Sends queries to the query worker. */
export interface QueryClient {
  /**
   * Runs a query. Queries of different users take turns.
   *
   * @throws {ApiError} `query_too_large`, `queries_overloaded`, `shutting_down`, `storage_unavailable` or `internal`
   * @throws {ClientDisconnectedError} if the client has disconnected
   */
  run<Name extends keyof Queries>(
    name: Name,
    argument: Parameters<Queries[Name]>[0],
    caller: QueryCaller,
  ): Promise<QueryResult<ReturnType<Queries[Name]>>>;
  /**
   * Streams records. The stream breaks with an error if the export cannot be completed, or if nobody reads it for
   * the idle timeout.
   *
   * @param onBroken called with the error that breaks the stream
   * @throws {ApiError} `queries_overloaded` beyond the limits of concurrent exports, and as {@link run}
   */
  export(
    query: ExportQuery,
    caller: QueryCaller,
    onBroken: (error: unknown) => void,
  ): Promise<ReadableStream<Uint8Array>>;
  /**
   * Runs maintenance of the database: not limited per user, never canceled, in steps between queries.
   *
   * @throws {ApiError} as {@link run}
   */
  maintain<Name extends keyof Maintenance>(
    name: Name,
    argument: Parameters<Maintenance[Name]>[0],
  ): Promise<Result<ReturnType<Maintenance[Name]>>>;
  /** How far the column store is behind recording; undefined if the worker does not say so within 250 ms. */
  lag(): Promise<IngestLag | undefined>;
  /** How many erasures are unfinished, or not overwritten in every file; undefined likewise. */
  pendingErasures(): Promise<number | undefined>;
  health(): WorkerHealth;
  /** Stops the worker; queries that are running or queued fail with `shutting_down`. Takes a few seconds at most. */
  close(): Promise<void>;
}

/** How a query client works. */
export interface QueryClientOptions extends Omit<WorkerOptions, 'canceled'> {
  /** The address of worker.ts; in the binary it is relative to the entry, so that a file beside the entry has to say it. */
  readonly worker: URL;
  /** After how long an export that nobody reads is broken off, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Called once, with the reason, when a query finds the database damaged. */
  readonly onDamaged?: (reason: Error) => void;
  readonly log: Logger;
}

interface Waiting {
  readonly resolve: (outcome: { value: unknown; lag?: IngestLag }) => void;
  readonly reject: (error: unknown) => void;
}

/** Starts the query worker, and starts it again, after growing delays, should it ever end by itself. */
export function createQueryClient({
  worker: address,
  idleTimeoutMs,
  onDamaged = () => {},
  log,
  ...options
}: QueryClientOptions): QueryClient {
  const canceled = new SharedArrayBuffer(4);
  const waiting = new Map<number, Waiting>();
  const queue = createFairQueue();
  let lastId = 0;
  let isClosed = false;
  let isReady = false;
  let isDamaged = false;
  let restarts = 0;
  /** Starts in a row after which the worker was not ready. */
  let failures = 0;
  let restarting: ReturnType<typeof setTimeout> | undefined;
  let stable: ReturnType<typeof setTimeout> | undefined;
  let worker: Worker | undefined = start();

  function start(): Worker {
    const started = new Worker(address, { workerData: { ...options, canceled } satisfies WorkerOptions });
    let reason: unknown = new Error('the query worker ended');
    started.on('message', (outcome: Outcome) => {
      if (outcome === 'ready') {
        isReady = true;
        stable = setTimeout(() => {
          failures = 0;
        }, STABLE_AFTER);
        return;
      }
      if ('failed' in outcome) {
        apiErrorOf(outcome.failed);
        return;
      }
      const asked = waiting.get(outcome.id);
      waiting.delete(outcome.id);
      if ('error' in outcome) asked?.reject(apiErrorOf(outcome.error));
      else asked?.resolve(outcome);
    });
    started.on('error', (error) => {
      reason = error;
    });
    started.on('exit', () => {
      if (started !== worker) return;
      worker = undefined;
      clearTimeout(stable);
      failAll(() => new ApiError(isClosed ? 'shutting_down' : 'storage_unavailable', { cause: reason }));
      if (isClosed) return;
      isReady = false;
      const delay = Math.min(RESTART_DELAY.first * 2 ** failures++, RESTART_DELAY.longest);
      log.error({ err: reason, restarts, delay_ms: delay }, 'the query worker ended; it is started again');
      restarting = setTimeout(() => {
        restarts++;
        worker = start();
      }, delay);
    });
    return started;
  }

  function failAll(error: () => ApiError): void {
    for (const { reject } of waiting.values()) reject(error());
    waiting.clear();
  }

  function noteDamage(reason: Error): void {
    if (isDamaged) return;
    isDamaged = true;
    onDamaged(reason);
  }

  function apiErrorOf({ kind, message, parameter }: TaskError): Error {
    const cause = new Error(message);
    switch (kind) {
      case 'too-large':
        return new ApiError('query_too_large', { issues: [tooLarge(message, parameter)], cause });
      case 'canceled':
        return isClosed ? new ApiError('shutting_down') : new ClientDisconnectedError();
      case 'locked':
      case 'unavailable':
        return new ApiError('storage_unavailable', { cause });
      case 'full':
        return new ApiError('storage_full', { cause });
      case 'damaged':
        noteDamage(cause);
        return new ApiError('storage_unavailable', { cause });
      case 'other':
        return new ApiError('internal', { cause });
    }
  }

  /** Hands a task to the worker. */
  function post(task: Task, id = ++lastId): Promise<{ value: unknown; lag?: IngestLag }> {
    if (isClosed) return Promise.reject(new ApiError('shutting_down'));
    if (!worker) return Promise.reject(new ApiError('storage_unavailable', { cause: new Error('no query worker') }));
    const target = worker;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      target.postMessage({ ...task, id } satisfies Message);
    });
  }

  /** Runs a task in its user's turn; cancels it when the signal is aborted. */
  async function inTurn(task: Task, { userId, signal }: QueryCaller): Promise<{ value: unknown; lag?: IngestLag }> {
    if (isClosed) throw new ApiError('shutting_down');
    if (signal.aborted) throw new ClientDisconnectedError();
    return queue.run(userId, signal, () => {
      const id = ++lastId;
      const cancel = () => cancelRunning(id);
      signal.addEventListener('abort', cancel);
      return post(task, id).finally(() => signal.removeEventListener('abort', cancel));
    });
  }

  function cancelRunning(id: number): void {
    Atomics.store(new Int32Array(canceled), 0, id);
  }

  /** Runs a short task for the status, which does not wait for a query that runs. */
  async function soon<Value>(task: Task): Promise<Value | undefined> {
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), STATUS_DEADLINE);
    try {
      return await Promise.race([post(task).then(({ value }) => value as Value), late.promise]);
    } catch {
      return undefined; // the worker has ended: its health says so
    } finally {
      clearTimeout(timer);
    }
  }

  const exports = createExports(inTurn, (task) => post(task), idleTimeoutMs);

  return {
    async run(name, argument, caller) {
      const { value, lag } = await inTurn({ do: 'query', name, argument }, caller);
      // the worker calls the function of that name with that argument
      return { value: value as ReturnType<Queries[typeof name]>, lag: lag ?? { rows: 0, seconds: 0 } };
    },
    export: exports.open,
    async maintain(name, argument) {
      const { value } = await post({ do: 'maintain', name, argument });
      return value as Result<ReturnType<Maintenance[typeof name]>>; // likewise
    },
    lag: () => soon<IngestLag>({ do: 'lag' }),
    pendingErasures: () => soon<number>({ do: 'pending-erasures' }),
    health: () => ({
      state: isClosed ? 'stopped' : failures > 0 && !isReady ? 'restarting' : 'running',
      restarts,
      isDamaged,
    }),
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearTimeout(restarting);
      clearTimeout(stable);
      exports.close();
      queue.close(() => new ApiError('shutting_down'));
      cancelRunning(CANCEL_ALL);
      const last = worker;
      if (last) {
        const ended = new Promise<void>((resolve) => last.once('exit', () => resolve()));
        last.postMessage('close' satisfies Message);
        const deadline = setTimeout(() => void last.terminate(), CLOSE_DEADLINE);
        await Promise.race([ended, Bun.sleep(2 * CLOSE_DEADLINE)]);
        clearTimeout(deadline);
      }
      failAll(() => new ApiError('shutting_down'));
    },
  };
}

function tooLarge(message: string, parameter: string | undefined): ValidationIssue {
  const loc = parameter === undefined ? ['query'] : ['query', parameter];
  return { loc, msg: `Value error, ${message}`, type: 'query_too_large' };
}
