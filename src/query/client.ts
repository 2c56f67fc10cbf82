import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { ApiError, type ValidationIssue } from '../errors.ts';
import type { ExportQuery } from '../export/export.ts';
import type { Retention } from '../formats/retention.ts';
import type { ErasedUser } from '../storage/columns/column-store.ts';
import type { Growth } from '../storage/disk-forecast.ts';
import type { Job, JobProgress } from '../storage/job.ts';
import type { SpaceUse } from '../storage/space-use.ts';
import { CANCEL_ALL, ClientDisconnectedError, type QueryCaller, timed } from './caller.ts';
import type { ClickHouseWorkerOptions } from './clickhouse/worker.ts';
import type { IngestLag, Maintenance, Queries } from './engine.ts';
import { createExports, type UnsentBytes } from './exports.ts';
import { createFairQueue } from './fair-queue.ts';
import type { Message, Outcome, Task, TaskError, WorkerOptions } from './worker.ts';

/** Delay before the worker is restarted, in milliseconds. Doubles after each exit. */
const RESTART_DELAY_MS = { initial: 100, max: 30_000 };
/** Run time after which the restart delay is reset, in milliseconds. */
const STABLE_AFTER_MS = 30_000;
/** Time that the worker has to finish its current task at shutdown, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/** The message of `storage_unavailable` if the engine behind QUERY_URL does not respond as it should. */
const ENGINE_UNAVAILABLE = 'The query engine behind QUERY_URL is not available. Recording continues.';

/** Time limit for status requests to the worker, in milliseconds. */
const STATUS_TIMEOUT_MS = 250;

/** The result of a query, and the ingest lag when it ran. */
export interface QueryResult<Value> {
  readonly value: Value;
  readonly lag: IngestLag;
}

/** The state of the query worker, for `/readyz` and status. */
export interface WorkerHealth {
  /** `restarting`: the worker has exited unexpectedly and is not ready yet. */
  readonly state: 'running' | 'restarting' | 'stopped';
  /** Restarts since the server started. */
  readonly restarts: number;
  /** Whether a query has found damage in the database: corrupt data or a failed read. */
  readonly isDamaged: boolean;
}

/** The value that a job returns. */
type JobResult<AnyJob> = AnyJob extends Job<infer Value> ? Value : never;

/** The value that maintenance of this name returns. */
export type MaintenanceResult<Name extends keyof Maintenance> = JobResult<ReturnType<Maintenance[Name]>>;

/** The client of the query worker. */
export interface QueryClient {
  /**
   * Runs a query. Users take turns.
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
   * Streams an export. The stream fails with an error if the export cannot be completed, or if the client reads nothing
   * for the idle timeout.
   *
   * @param onBroken called with the error that aborts the stream
   * @param unsentBytes tells whether bytes move while the client takes no new ones
   * @throws {ApiError} `queries_overloaded` if too many exports are open; otherwise as {@link run}
   */
  export(
    query: ExportQuery,
    caller: QueryCaller,
    onBroken: (error: unknown) => void,
    unsentBytes?: UnsentBytes,
  ): Promise<ReadableStream<Uint8Array>>;
  /**
   * Runs database maintenance, in steps between queries. Not limited per user, and never canceled.
   *
   * @param onProgress called with the progress, if the job reports any
   * @throws {ApiError} as {@link run}
   */
  maintain<Name extends keyof Maintenance>(
    name: Name,
    argument: Parameters<Maintenance[Name]>[0],
    onProgress?: (progress: JobProgress) => void,
  ): Promise<MaintenanceResult<Name>>;
  /** Returns the ingest lag; undefined if the worker does not respond within 250 ms. */
  lag(): Promise<IngestLag | undefined>;
  /**
   * Returns the number of erasures and deletions that are unfinished or not yet overwritten in every file; undefined if
   * the worker does not respond within 250 ms.
   */
  pendingRemovals(): Promise<number | undefined>;
  /** Returns what uses the space of the database; undefined if the worker does not respond within 250 ms. */
  spaceUse(): Promise<SpaceUse | undefined>;
  /**
   * Returns how the database has grown in the last days; undefined if that cannot be determined, or if the worker does not
   * respond within 250 ms.
   */
  growth(retention: Retention): Promise<Growth | undefined>;
  health(): WorkerHealth;
  /** Replaces QUERY_URL; queries that are running continue with the former one. Only of the client for ClickHouse. */
  setQueryUrl(url: URL): void;
  /** Stops the worker. Running and queued queries fail with `shutting_down`. Takes a few seconds at most. */
  close(): Promise<void>;
}

/** Options of {@link createQueryClient}, and those of its worker. */
export type QueryClientOptions = ClientOptions &
  (Omit<WorkerOptions, 'canceled'> | Omit<ClickHouseWorkerOptions, 'canceled'>);

interface ClientOptions {
  /**
   * The URL of the worker of the embedded engine, or of the one for ClickHouse, which only runs queries and exports. Created
   * in server.ts, because the binary resolves it relative to the entry point.
   */
  readonly worker: URL;
  /** How long a client may stop reading an export before it is aborted, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Called once, with the reason, when a query finds damage in the database: corrupt data or a failed read. */
  readonly onDamaged?: (reason: Error) => void;
  /** Called with the ingest lag whenever the worker has measured it. */
  readonly onLag?: (lag: IngestLag) => void;
  /** With QUERY_URL: returns the rows of this node that are not forwarded yet. */
  readonly forwardingLag?: () => IngestLag;
  /** With QUERY_URL: returns the users whose erasure has not been forwarded yet. */
  readonly erased?: () => readonly ErasedUser[];
  readonly log: Logger;
}

/** What the worker returns for a task. */
interface TaskResult {
  readonly value: unknown;
  readonly lag?: IngestLag | undefined;
}

/** The promise of a task sent to the worker. */
interface PendingTask {
  readonly onProgress: (progress: JobProgress) => void;
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Starts the query worker, and restarts it with exponential backoff if it exits unexpectedly. */
export function createQueryClient({
  worker: workerUrl,
  idleTimeoutMs,
  onDamaged = () => {},
  onLag = () => {},
  forwardingLag = () => ({ rows: 0, seconds: 0 }),
  erased = () => [],
  log,
  ...options
}: QueryClientOptions): QueryClient {
  const canceled = new SharedArrayBuffer(4);
  const pendingTasks = new Map<number, PendingTask>();
  const queue = createFairQueue();
  let workerOptions = options;
  let lastId = 0;
  let isClosed = false;
  let isReady = false;
  let isDamaged = false;
  let restarts = 0;
  /** Consecutive exits without a stable run in between. */
  let failures = 0;
  let restartTimer: ReturnType<typeof setTimeout> | undefined;
  let stableTimer: ReturnType<typeof setTimeout> | undefined;
  let worker: Worker | undefined = start();

  function start(): Worker {
    const started = new Worker(workerUrl, {
      workerData: { ...workerOptions, canceled } satisfies WorkerOptions | ClickHouseWorkerOptions,
    });
    let reason: unknown = new Error('the query worker exited');
    started.on('message', (outcome: Outcome) => {
      if (outcome === 'ready') {
        isReady = true;
        stableTimer = setTimeout(() => {
          failures = 0;
        }, STABLE_AFTER_MS);
        return;
      }
      if ('failed' in outcome) {
        apiErrorOf(outcome.failed);
        return;
      }
      const pending = pendingTasks.get(outcome.id);
      if ('progress' in outcome) {
        pending?.onProgress(outcome.progress);
        return;
      }
      pendingTasks.delete(outcome.id);
      if ('error' in outcome) pending?.reject(apiErrorOf(outcome.error));
      else {
        if (outcome.lag) onLag(outcome.lag);
        pending?.resolve(outcome);
      }
    });
    started.on('error', (error) => {
      reason = error;
    });
    started.on('exit', () => {
      if (started !== worker) return;
      worker = undefined;
      clearTimeout(stableTimer);
      failAll(() => new ApiError(isClosed ? 'shutting_down' : 'storage_unavailable', { cause: reason }));
      if (isClosed) return;
      isReady = false;
      const delay = Math.min(RESTART_DELAY_MS.initial * 2 ** failures++, RESTART_DELAY_MS.max);
      log.error({ err: reason, restarts, delay_ms: delay }, 'the query worker exited; restarting it');
      restartTimer = setTimeout(() => {
        restarts++;
        worker = start();
      }, delay);
    });
    return started;
  }

  function failAll(error: () => ApiError): void {
    for (const { reject } of pendingTasks.values()) reject(error());
    pendingTasks.clear();
  }

  function reportDamage(reason: Error): void {
    if (isDamaged) return;
    isDamaged = true;
    onDamaged(reason);
  }

  function apiErrorOf({ kind, message, parameter }: TaskError): Error {
    const cause = new Error(message);
    switch (kind) {
      case 'too-large':
        return new ApiError('query_too_large', { issues: [toIssue(message, parameter)], cause });
      case 'canceled':
        return isClosed ? new ApiError('shutting_down') : new ClientDisconnectedError();
      case 'locked':
      case 'unavailable':
        return new ApiError('storage_unavailable', { cause });
      case 'full':
        return new ApiError('storage_full', { cause });
      case 'damaged':
        reportDamage(cause);
        return new ApiError('storage_unavailable', { cause });
      case 'engine-unavailable':
        return new ApiError('storage_unavailable', { message: ENGINE_UNAVAILABLE, cause });
      case 'engine-overloaded':
        return new ApiError('queries_overloaded', { cause });
      case 'not-supported':
        return new ApiError('not_supported', { cause });
      case 'other':
        return new ApiError('internal', { cause });
    }
  }

  /** Sends a task to the worker. */
  function post(task: Task, id = ++lastId, onProgress: PendingTask['onProgress'] = () => {}): Promise<TaskResult> {
    if (isClosed) return Promise.reject(new ApiError('shutting_down'));
    if (!worker)
      return Promise.reject(
        new ApiError('storage_unavailable', { cause: new Error('the query worker is not running') }),
      );
    const target = worker;
    return new Promise((resolve, reject) => {
      pendingTasks.set(id, { resolve, reject, onProgress });
      target.postMessage({ ...task, id, erased: erased() } satisfies Message);
    });
  }

  /** Runs a task when it is its user's turn, and cancels it when the signal is aborted. */
  async function inTurn(task: Task, caller: QueryCaller): Promise<TaskResult> {
    const { signal, onFinished } = caller;
    return timed(onFinished, async (onStart) => {
      if (isClosed) throw new ApiError('shutting_down');
      if (signal.aborted) throw new ClientDisconnectedError();
      return queue.run(caller, () => {
        onStart();
        const id = ++lastId;
        const cancel = () => cancelRunning(id);
        signal.addEventListener('abort', cancel);
        return post(task, id).finally(() => signal.removeEventListener('abort', cancel));
      });
    });
  }

  function cancelRunning(id: number): void {
    Atomics.store(new Int32Array(canceled), 0, id);
  }

  /** Runs a short task for the status. Returns undefined on timeout, for example while a query is running. */
  async function runWithTimeout<Value>(task: Task): Promise<Value | undefined> {
    const timeout = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => timeout.resolve(undefined), STATUS_TIMEOUT_MS);
    try {
      return await Promise.race([post(task).then(({ value }) => value as Value), timeout.promise]);
    } catch {
      return undefined; // the worker has exited, which its health reports
    } finally {
      clearTimeout(timer);
    }
  }

  const exports = createExports(inTurn, (task) => post(task), idleTimeoutMs);

  return {
    async run(name, argument, caller) {
      const { value, lag } = await inTurn({ do: 'query', name, argument }, caller);
      // the worker calls the query of that name with that argument
      return { value: value as ReturnType<Queries[typeof name]>, lag: lag ?? forwardingLag() };
    },
    export: exports.open,
    async maintain(name, argument, onProgress) {
      const { value } = await post({ do: 'maintain', name, argument }, ++lastId, onProgress);
      return value as MaintenanceResult<typeof name>; // as in run
    },
    lag: () => runWithTimeout<IngestLag>({ do: 'lag' }),
    pendingRemovals: () => runWithTimeout<number>({ do: 'pending-removals' }),
    spaceUse: () => runWithTimeout<SpaceUse>({ do: 'space-use' }),
    growth: (retention) => runWithTimeout<Growth | undefined>({ do: 'growth', retention }),
    health: () => ({
      state: isClosed ? 'stopped' : failures > 0 && !isReady ? 'restarting' : 'running',
      restarts,
      isDamaged,
    }),
    setQueryUrl({ href: queryUrl }) {
      workerOptions = { ...workerOptions, queryUrl };
      post({ do: 'set-query-url', queryUrl }).catch(() => {
        // the worker has exited; the next one starts with it
      });
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearTimeout(restartTimer);
      clearTimeout(stableTimer);
      exports.close();
      queue.close(() => new ApiError('shutting_down'));
      cancelRunning(CANCEL_ALL);
      const lastWorker = worker;
      if (lastWorker) {
        const exited = new Promise<void>((resolve) => lastWorker.once('exit', () => resolve()));
        lastWorker.postMessage('close' satisfies Message);
        const deadline = setTimeout(() => void lastWorker.terminate(), CLOSE_TIMEOUT_MS);
        await Promise.race([exited, Bun.sleep(2 * CLOSE_TIMEOUT_MS)]);
        clearTimeout(deadline);
      }
      failAll(() => new ApiError('shutting_down'));
    },
  };
}

function toIssue(message: string, parameter: string | undefined): ValidationIssue {
  const loc = parameter === undefined ? ['query'] : ['query', parameter];
  return { loc, msg: `Value error, ${message}`, type: 'query_too_large' };
}
