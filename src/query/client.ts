import { Worker } from 'node:worker_threads';
import { Failure } from '../errors.ts';
import type { Job } from '../storage/job.ts';
import type { Engine } from './engine.ts';
import type { Answered, Asked } from './worker.ts';

/** Questions that may wait for the thread; beyond it they are refused. */
const MAX_WAITING = 256;

/** Who runs a query: limits are per user, and a query is canceled when its client disconnects. */
export interface Asker {
  readonly userId: string;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** Committed rows that the column store has not applied yet, and the age of the oldest of them. */
export interface IngestLag {
  readonly rows: number;
  readonly seconds: number;
}

/** What a query returns, and how far the column store lagged behind recording when it ran. */
export interface QueryResult<Value> {
  readonly value: Value;
  readonly lag: IngestLag;
}

/** The state of the query worker, for `/readyz` and status. */
export interface WorkerHealth {
  readonly state: 'running' | 'restarting' | 'stopped';
  /** Restarts since the server started. */
  readonly restarts: number;
}

/** What a function of the engine returns in the end: a job is run. */
export type Returned<Name extends keyof Engine> =
  ReturnType<Engine[Name]> extends Job<infer Result> ? Result : ReturnType<Engine[Name]>;

/** Sends queries to the query worker. */
export interface QueryClient {
  /**
   * @throws {Failure} `query_too_large`, `queries_overloaded`, `shutting_down`, `storage_unavailable` or `internal`
   */
  ask<Name extends keyof Engine>(
    name: Name,
    argument: Parameters<Engine[Name]>[0],
    asker: Asker,
  ): Promise<QueryResult<Returned<Name>>>;
  /**
   * Runs maintenance of the column store: not limited per user, never canceled, in steps between queries.
   *
   * @throws {Failure} as {@link ask}
   */
  maintain<Name extends keyof Engine>(name: Name, argument: Parameters<Engine[Name]>[0]): Promise<Returned<Name>>;
  health(): WorkerHealth;
  /** Stops the worker; queries that are running or queued fail with `shutting_down`. */
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (failure: Failure) => void;
}

/**
 * Starts a thread that reads a database; see worker.ts. It is started anew should it ever end by itself.
 *
 * @param path the database
 * @param thread the address of worker.ts; in the binary it is relative to the entry, so that a file beside
 *   the entry has to say it
 */
export function createQueryClient(path: string, thread: URL): QueryClient {
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  let closed = false;
  let worker = start();

  function start(): Worker {
    const started = new Worker(thread, { workerData: { path } });
    started.on('message', (answer: Answered) => {
      const asked = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ('error' in answer) asked?.reject(failureOf(answer.error));
      else asked?.resolve(answer.value);
    });
    started.on('error', (error) => failAll(error));
    started.on('exit', () => {
      if (closed || started !== worker) return;
      failAll(new Error('the reading thread ended'));
      worker = start();
    });
    return started;
  }

  function failAll(error: unknown): void {
    for (const { reject } of waiting.values()) reject(new Failure('internal', { cause: error }));
    waiting.clear();
  }

  function post(message: Asked): Promise<unknown> {
    return new Promise((resolve, reject) => {
      waiting.set(message.id, { resolve, reject });
      worker.postMessage(message);
    });
  }

  async function request<Name extends keyof Engine>(name: Name, argument: Parameters<Engine[Name]>[0]) {
    if (closed) throw new Failure('shutting_down');
    if (waiting.size >= MAX_WAITING) throw new Failure('queries_overloaded');
    // the worker calls the function of that name with that argument
    return (await post({ id: ++lastId, name, argument })) as Returned<Name>;
  }

  return {
    ask: async (name, argument) => ({ value: await request(name, argument), lag: { rows: 0, seconds: 0 } }),
    maintain: request,
    health: () => ({ state: closed ? 'stopped' : 'running', restarts: 0 }),
    async close() {
      if (closed) return;
      closed = true;
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.postMessage('close');
      await ended;
      failAll(new Error('the server is shutting down'));
    },
  };
}

/** Result codes of SQLite that mean that another process holds the database: BUSY and LOCKED. */
const LOCKED = new Set([5, 6]);

function failureOf({ tooLarge, message, errno }: Extract<Answered, { error: unknown }>['error']): Failure {
  const cause = new Error(message);
  if (tooLarge) return new Failure('query_too_large', { cause });
  if (errno !== undefined && LOCKED.has(errno & 0xff)) return new Failure('storage_unavailable', { cause });
  return new Failure('internal', { cause });
}
