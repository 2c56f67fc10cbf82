import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { ExportQuery } from '../export/export.ts';
import type { Job } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import { toStorageError } from '../storage/storage-error.ts';
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
  | { readonly do: 'open-export'; readonly export: number; readonly query: ExportQuery }
  | { readonly do: 'next-part' | 'close-export'; readonly export: number };

export type Message = (Task & { readonly id: number }) | 'close';

/** The error of a failed task. The message is only logged, except for `too-large`. */
export interface TaskError {
  readonly kind: 'too-large' | 'canceled' | 'locked' | 'full' | 'unavailable' | 'damaged' | 'other';
  readonly message: string;
  /** For `too-large`: the query parameter that caused it, if there is only one. */
  readonly parameter?: string | undefined;
}

/** A message from the worker: it is ready, it failed to open the database, or a task has finished. */
export type Outcome =
  | 'ready'
  | { readonly failed: TaskError }
  | { readonly id: number; readonly value: unknown; readonly lag?: IngestLag }
  | { readonly id: number; readonly error: TaskError };

/** Shortest pause between two maintenance steps, in milliseconds. */
const MIN_PAUSE_MS = 1;

if (parentPort) run(parentPort, workerData as WorkerOptions);

function run(port: NonNullable<typeof parentPort>, options: WorkerOptions): void {
  // on Linux this affects only this thread: recording takes precedence on a shared core
  setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);
  const canceled = new Int32Array(options.canceled);
  let runningId = 0;
  const send = (outcome: Outcome) => port.postMessage(outcome);
  const isCanceled = () => {
    const id = Atomics.load(canceled, 0);
    return id === runningId || id === CANCEL_ALL;
  };
  const { storage, engine } = open();
  const jobs: { id: number; job: Job<unknown> }[] = [];
  let stepTimer: ReturnType<typeof setTimeout> | undefined;

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
          jobs.push({ id, job: start(message.argument) });
          stepTimer ??= setTimeout(step, 0);
          return;
        }
        case 'lag':
          return send({ id, value: engine.lag() });
        case 'pending-removals':
          return send({ id, value: engine.pendingRemovals() });
        case 'open-export':
          return send({ id, value: engine.exports.open(message.export, message.query) });
        case 'next-part': {
          const value = engine.exports.next(message.export);
          // transferred, not copied: each part has its own buffer
          return port.postMessage({ id, value } satisfies Outcome, value ? [value.buffer as ArrayBuffer] : []);
        }
        case 'close-export':
          return send({ id, value: engine.exports.close(message.export) });
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
      return { storage: reader, engine: createQueryEngine(reader, { ...options, isCanceled }) };
    } catch (error) {
      send({ failed: toTaskError(error) });
      throw error;
    }
  }

  /** Runs one step of the oldest job. Pending messages are handled before the next step. */
  function step(): void {
    stepTimer = undefined;
    const current = jobs[0];
    if (!current) return;
    const startedAt = performance.now();
    try {
      const { done, value } = current.job.next();
      if (done) {
        jobs.shift();
        send({ id: current.id, value });
      }
    } catch (error) {
      jobs.shift();
      sendError(current.id, error);
    }
    // pause for as long as the step took, so that recording gets the write lock for at least half of the time
    if (jobs.length > 0) stepTimer = setTimeout(step, Math.max(MIN_PAUSE_MS, performance.now() - startedAt));
  }

  send('ready');
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
