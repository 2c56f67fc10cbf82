import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { ExportQuery } from '../export/export.ts';
import type { Job } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import { toStorageError } from '../storage/storage-error.ts';
import { Canceled, QueryTooLargeError } from './budget.ts';
import { CANCEL_ALL } from './caller.ts';
import { createEngine, type IngestLag, type Maintenance, type Queries } from './engine.ts';

/*
 * The query worker: a thread with a connection of its own. Requests that record only share the processor with it,
 * and for some milliseconds the writer's lock, when maintenance writes.
 */

/** What the worker is started with. */
export interface WorkerOptions {
  readonly path: string;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  /** One number: the `id` of a query that is canceled while it runs, or {@link CANCEL_ALL}. */
  readonly canceled: SharedArrayBuffer;
}

/** What the worker is asked to do. */
export type Task =
  | { readonly do: 'query'; readonly name: keyof Queries; readonly argument: unknown }
  | { readonly do: 'maintain'; readonly name: keyof Maintenance; readonly argument: unknown }
  | { readonly do: 'lag' }
  | { readonly do: 'pending-erasures' }
  | { readonly do: 'open-export'; readonly export: number; readonly query: ExportQuery }
  | { readonly do: 'next-part' | 'close-export'; readonly export: number };

export type Message = (Task & { readonly id: number }) | 'close';

/** Why a task failed, by its kind; the text is for the log only. */
export interface TaskError {
  readonly kind: 'too-large' | 'canceled' | 'locked' | 'full' | 'unavailable' | 'damaged' | 'other';
  readonly message: string;
  /** For `too-large`: the parameter to change, where one alone decides. */
  readonly parameter?: string | undefined;
}

/** What the worker sends: that it has opened the database, or why it could not, and the outcome of each task. */
export type Outcome =
  | 'ready'
  | { readonly failed: TaskError }
  | { readonly id: number; readonly value: unknown; readonly lag?: IngestLag }
  | { readonly id: number; readonly error: TaskError };

/** Shortest pause between two steps of maintenance, in milliseconds. */
const MIN_PAUSE = 1;

if (parentPort) run(parentPort, workerData as WorkerOptions);

function run(port: NonNullable<typeof parentPort>, options: WorkerOptions): void {
  // of this thread only, on Linux: if it shares a core with the requests that record, they go first
  setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);
  const canceled = new Int32Array(options.canceled);
  let running = 0;
  const send = (outcome: Outcome) => port.postMessage(outcome);
  const isCanceled = () => {
    const id = Atomics.load(canceled, 0);
    return id === running || id === CANCEL_ALL;
  };
  const { storage, engine } = open();
  const jobs: { id: number; job: Job<unknown> }[] = [];
  let stepping: ReturnType<typeof setTimeout> | undefined;

  const sendError = (id: number, error: unknown) => send({ id, error: describe(error) });

  port.on('message', (message: Message) => {
    if (message === 'close') {
      clearTimeout(stepping);
      storage.close();
      port.close();
      return;
    }
    const { id } = message;
    running = id;
    try {
      switch (message.do) {
        case 'query': {
          // the names and their arguments are paired where the query is asked: see QueryClient
          const query = engine.queries[message.name] as (argument: unknown) => unknown;
          return send({ id, value: query(message.argument), lag: engine.lag() });
        }
        case 'maintain': {
          const start = engine.maintenance[message.name] as (argument: unknown) => Job<unknown>;
          jobs.push({ id, job: start(message.argument) });
          stepping ??= setTimeout(step, 0);
          return;
        }
        case 'lag':
          return send({ id, value: engine.lag() });
        case 'pending-erasures':
          return send({ id, value: engine.pendingErasures() });
        case 'open-export':
          return send({ id, value: engine.exports.open(message.export, message.query) });
        case 'next-part': {
          const value = engine.exports.next(message.export);
          // moved, not copied: a part is a buffer of its own
          return port.postMessage({ id, value } satisfies Outcome, value ? [value.buffer as ArrayBuffer] : []);
        }
        case 'close-export':
          return send({ id, value: engine.exports.close(message.export) });
      }
    } catch (error) {
      sendError(id, error);
    } finally {
      running = 0;
    }
  });

  function open() {
    try {
      const reader = openReader(options.path);
      return { storage: reader, engine: createEngine(reader, { ...options, isCanceled }) };
    } catch (error) {
      send({ failed: describe(error) });
      throw error;
    }
  }

  /** Runs one step of the oldest job. Messages that have come meanwhile are handled before the next one. */
  function step(): void {
    stepping = undefined;
    const current = jobs[0];
    if (!current) return;
    const began = performance.now();
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
    // for as long as a step has held the write lock, recording has it
    if (jobs.length > 0) stepping = setTimeout(step, Math.max(MIN_PAUSE, performance.now() - began));
  }

  send('ready');
}

function describe(error: unknown): TaskError {
  const { message } = error instanceof Error ? error : { message: String(error) };
  if (error instanceof QueryTooLargeError) return { kind: 'too-large', message, parameter: error.parameter };
  if (error instanceof Canceled) return { kind: 'canceled', message };
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
