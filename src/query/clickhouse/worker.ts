import { parentPort, workerData } from 'node:worker_threads';
import { parseClickHouseUrl } from '../../formats/clickhouse-url.ts';
import { lowerPriority } from '../../thread-priority.ts';
import { QueryCanceledError, QueryTooLargeError } from '../budget.ts';
import { CANCEL_ALL } from '../caller.ts';
import type { Message, Outcome, TaskError } from '../worker.ts';
import { createClickHouse, EngineOverloadedError, EngineUnavailableError, NotSupportedError } from './connection.ts';
import { type ClickHouseQueries, createClickHouseEngine, type QueryState } from './engine.ts';

/*
 * The query worker with QUERY_URL: a thread that sends statements to ClickHouse and decodes the results, so that large ones
 * do not delay recording. It understands the tasks of the embedded engine's worker that routes send.
 */

/** The worker's startup options. */
export interface ClickHouseWorkerOptions {
  /** QUERY_URL. */
  readonly queryUrl: string;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  /** One number: the `id` of the running query to cancel, or {@link CANCEL_ALL}. */
  readonly canceled: SharedArrayBuffer;
}

/** How often a waiting query checks whether it is canceled, in milliseconds. */
const CANCEL_CHECK_MS = 25;

if (parentPort) run(parentPort, workerData as ClickHouseWorkerOptions);

function run(port: NonNullable<typeof parentPort>, options: ClickHouseWorkerOptions): void {
  lowerPriority(); // recording takes precedence on a shared core
  const canceled = new Int32Array(options.canceled);
  const clientOf = (queryUrl: string) => createClickHouse(parseClickHouseUrl(new URL(queryUrl)), options.timeoutMs);
  let clickhouse = clientOf(options.queryUrl);
  const engine = createClickHouseEngine({ connect: (context) => clickhouse.connect(context) }, options);
  const send = (outcome: Outcome) => port.postMessage(outcome);

  port.on('message', (message: Message) => {
    if (message === 'close') {
      port.close();
      return;
    }
    void handle(message);
  });

  async function handle(task: Exclude<Message, 'close'>): Promise<void> {
    const { id, erased = [] } = task;
    const isCanceled = () => [id, CANCEL_ALL].includes(Atomics.load(canceled, 0));
    const stopping = new AbortController();
    const timer = setInterval(() => isCanceled() && stopping.abort(), CANCEL_CHECK_MS);
    try {
      const value = await perform(task, { isCanceled, signal: stopping.signal, erased });
      // a part has its own buffer, which is transferred, not copied
      port.postMessage(
        { id, value } satisfies Outcome,
        value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : [],
      );
    } catch (error) {
      send({ id, error: toTaskError(error) });
    } finally {
      clearInterval(timer);
    }
  }

  async function perform(task: Exclude<Message, 'close'>, state: QueryState): Promise<unknown> {
    switch (task.do) {
      case 'query': {
        if (!(task.name in engine.queries)) throw new Error(`the query engine has no query ${task.name}`);
        const query = engine.queries[task.name as keyof ClickHouseQueries] as AnyQuery;
        return query(task.argument as never, state);
      }
      case 'open-export':
        return engine.exports.open(task.export, task.query, state);
      case 'next-part':
        return engine.exports.next(task.export, state);
      case 'close-export':
        return engine.exports.close(task.export);
      case 'set-query-url':
        clickhouse = clientOf(task.queryUrl);
        return undefined;
      default:
        throw new Error(`the query engine has no task ${task.do}`);
    }
  }

  send('ready');
}

/** A query of {@link ClickHouseQueries}; the client ensures that the argument matches the name. */
type AnyQuery = (argument: never, state: QueryState) => Promise<unknown>;

function toTaskError(error: unknown): TaskError {
  const { message } = error instanceof Error ? error : { message: String(error) };
  if (error instanceof QueryTooLargeError) return { kind: 'too-large', message, parameter: error.parameter };
  if (error instanceof QueryCanceledError) return { kind: 'canceled', message };
  if (error instanceof EngineUnavailableError) return { kind: 'engine-unavailable', message };
  if (error instanceof EngineOverloadedError) return { kind: 'engine-overloaded', message };
  if (error instanceof NotSupportedError) return { kind: 'not-supported', message };
  return { kind: 'other', message };
}
