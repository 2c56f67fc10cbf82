import { parentPort, workerData } from 'node:worker_threads';
import type { ExportQuery } from '../export/export.ts';
import type { Retention } from '../formats/retention.ts';
import type { ErasedUser } from '../storage/columns/column-store.ts';
import { INTERRUPTIBLE, type Job, type JobProgress } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import { toStorageError } from '../storage/storage-error.ts';
import { lowerPriority } from '../thread-priority.ts';
import { QueryCanceledError, QueryTooLargeError } from './budget.ts';
import { CANCEL_ALL } from './caller.ts';
import { createQueryEngine, type IngestLag, type Maintenance, type Queries } from './engine.ts';

/*
 * The query worker: a thread with its own database connection. It shares only the CPU with recording and, for a few
 * milliseconds while maintenance writes, the write lock.
 */

/** The worker's startup options. */
export interface WorkerOptions {
  readonly path: string;
  /** The file descriptor of the database file that the server keeps open; undefined if nothing is recorded meanwhile. */
  readonly databaseFile?: number;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  /** One number: the `id` of the running query to cancel, or {@link CANCEL_ALL}. */
  readonly canceled: SharedArrayBuffer;
}

/** A task for the worker. */
export type Task =
  | { readonly do: 'query'; readonly name: keyof Queries; readonly argument: unknown }
  | { readonly do: 'maintain'; readonly name: keyof Maintenance; readonly argument: unknown }
  | { readonly do: 'lag' }
  | { readonly do: 'pending-removals' }
  | { readonly do: 'space-use' }
  | { readonly do: 'growth'; readonly retention: Retention }
  | { readonly do: 'open-export'; readonly export: number; readonly query: ExportQuery }
  | { readonly do: 'next-part' | 'close-export'; readonly export: number }
  | { readonly do: 'set-query-url'; readonly queryUrl: string };

/** A task with its ID. `erased`: users whose rows the engine behind QUERY_URL may still have. */
export type Message = (Task & { readonly id: number; readonly erased?: readonly ErasedUser[] }) | 'close';

/** The error of a failed task. The message is only logged, except for `too-large`. */
export interface TaskError {
  readonly kind:
    | 'too-large'
    | 'canceled'
    | 'locked'
    | 'full'
    | 'unavailable'
    | 'damaged'
    | 'engine-unavailable'
    | 'engine-overloaded'
    | 'not-supported'
    | 'other';
  readonly message: string;
  /** For `too-large`: the query parameter that caused it, if there is only one. */
  readonly parameter?: string | undefined;
}

/** A message from the worker: it is ready, it failed to open the database, or a task has made progress or finished. */
export type Outcome =
  | 'ready'
  | { readonly failed: TaskError }
  | { readonly id: number; readonly progress: JobProgress }
  | { readonly id: number; readonly value: unknown; readonly lag?: IngestLag | undefined }
  | { readonly id: number; readonly error: TaskError };

/** Shortest pause between two maintenance steps, in milliseconds. */
const MIN_PAUSE_MS = 1;
/**
 * Maintenance that nobody waits for. Its pauses are longer, relative to the CPU time of its steps and to how long they held the
 * write lock, unless other maintenance waits for it. The duration of a step says less: on a busy machine, it mostly consists
 * of waiting, and pauses in proportion to that would never end.
 */
const BACKGROUND: ReadonlySet<keyof Maintenance> = new Set(['prune', 'reclaim']);
const BACKGROUND_PAUSE = { cpu: 2, held: 2 };
/**
 * Steps of all other maintenance run without a pause between them until they have taken this long, in milliseconds: a pause
 * takes more than a millisecond, and a step of an erasure less.
 */
const MIN_STEP_MS = 4;
/** Shortest time between two reports of a job's progress, in milliseconds. */
const PROGRESS_INTERVAL_MS = 100;

if (parentPort) run(parentPort, workerData as WorkerOptions);

function run(port: NonNullable<typeof parentPort>, options: WorkerOptions): void {
  lowerPriority(); // recording takes precedence on a shared core
  const canceled = new Int32Array(options.canceled);
  let runningId = 0;
  const send = (outcome: Outcome) => port.postMessage(outcome);
  const isCanceled = () => {
    const id = Atomics.load(canceled, 0);
    return id === runningId || id === CANCEL_ALL;
  };
  const { storage, engine } = open();
  const jobs: { id: number; name: keyof Maintenance; job: Job<unknown> }[] = [];
  let stepTimer: ReturnType<typeof setTimeout> | undefined;
  let reportedProgressAt = 0;

  const sendError = (id: number, error: unknown) => send({ id, error: toTaskError(error) });

  port.on('message', (message: Message) => {
    if (message === 'close') {
      clearTimeout(stepTimer);
      storage.close();
      port.close();
      return;
    }
    const { id } = message;
    runningId = id;
    try {
      switch (message.do) {
        case 'query': {
          // QueryClient ensures that the argument matches the name
          const query = engine.queries[message.name] as (argument: unknown) => unknown;
          return send({ id, value: query(message.argument), lag: engine.lag() });
        }
        case 'maintain': {
          const start = engine.maintenance[message.name] as (argument: unknown) => Job<unknown>;
          jobs.push({ id, name: message.name, job: start(message.argument) });
          stepTimer ??= setTimeout(step, 0);
          return;
        }
        case 'lag': {
          const lag = engine.lag();
          return send({ id, value: lag, lag });
        }
        case 'pending-removals':
          return send({ id, value: engine.pendingRemovals() });
        case 'space-use':
          return send({ id, value: engine.spaceUse() });
        case 'growth':
          return send({ id, value: engine.growth(message.retention) });
        case 'open-export':
          return send({ id, value: engine.exports.open(message.export, message.query) });
        case 'next-part': {
          const value = engine.exports.next(message.export);
          // transferred, not copied: each part has its own buffer
          return port.postMessage({ id, value } satisfies Outcome, value ? [value.buffer as ArrayBuffer] : []);
        }
        case 'close-export':
          return send({ id, value: engine.exports.close(message.export) });
        case 'set-query-url':
          throw new Error('the embedded engine has no QUERY_URL');
      }
    } catch (error) {
      sendError(id, error);
    } finally {
      runningId = 0;
    }
  });

  function open() {
    try {
      const reader = openReader(options.path);
      return { storage: reader, engine: createQueryEngine(reader, { ...options, isCanceled }, options.databaseFile) };
    } catch (error) {
      send({ failed: toTaskError(error) });
      throw error;
    }
  }

  /** Runs one step of the oldest job. Returns whether it is still the oldest. */
  function runStep(current: (typeof jobs)[number]): boolean {
    const { done, value } = current.job.next();
    if (done) {
      const lag = current.name === 'catchUp' ? engine.lag() : undefined;
      jobs.shift();
      send({ id: current.id, value, lag });
      return false;
    }
    if (value === INTERRUPTIBLE) {
      if (jobs.length > 1) jobs.push(...jobs.splice(0, 1)); // the others come first
      return jobs[0] === current;
    }
    const now = performance.now();
    if (value && now - reportedProgressAt >= PROGRESS_INTERVAL_MS) {
      reportedProgressAt = now;
      send({ id: current.id, progress: value });
    }
    return true;
  }

  /** Runs steps of the oldest job for a few milliseconds. Pending messages are handled before the next ones. */
  function step(): void {
    stepTimer = undefined;
    const current = jobs[0];
    if (!current) return;
    const startedAt = performance.now();
    const cpuBefore = threadCpuMs();
    const heldBefore = storage.store.transact.heldMs;
    try {
      const minStepMs = BACKGROUND.has(current.name) ? 0 : MIN_STEP_MS;
      while (runStep(current) && performance.now() - startedAt < minStepMs) {
        // more of the same job
      }
    } catch (error) {
      jobs.shift();
      sendError(current.id, error);
    }
    if (jobs.length === 0) return;
    // recording gets the write lock for at least half of the time, and the processor for a fifth of it if there is only one
    const heldMs = storage.store.transact.heldMs - heldBefore;
    const isInBackground = BACKGROUND.has(current.name) && jobs.length === 1;
    const pauseMs = isInBackground
      ? Math.max(BACKGROUND_PAUSE.held * heldMs, BACKGROUND_PAUSE.cpu * (threadCpuMs() - cpuBefore))
      : Math.max(heldMs, (performance.now() - startedAt) / 4);
    stepTimer = setTimeout(step, Math.max(MIN_PAUSE_MS, pauseMs));
  }

  send('ready');
}

/** Returns the CPU time of this thread, in milliseconds. */
function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function toTaskError(error: unknown): TaskError {
  const { message } = error instanceof Error ? error : { message: String(error) };
  if (error instanceof QueryTooLargeError) return { kind: 'too-large', message, parameter: error.parameter };
  if (error instanceof QueryCanceledError) return { kind: 'canceled', message };
  const storageError = toStorageError(error);
  const cause = storageError.cause instanceof Error ? storageError.cause.message : message;
  switch (storageError.kind) {
    case 'locked':
    case 'full':
    case 'unavailable':
      return { kind: storageError.kind, message: cause };
    case 'failing':
    case 'corrupt':
      return { kind: 'damaged', message: cause };
    default:
      return { kind: 'other', message };
  }
}
