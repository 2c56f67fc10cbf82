import { parentPort, workerData } from 'node:worker_threads';
import type { ForwardUrl } from '../formats/forward-url.ts';
import type { S3Access } from '../formats/s3.ts';
import { openSinkStore } from '../storage/sink-store.ts';
import { messageOf } from '../storage/storage-error.ts';
import { lowerPriority } from '../thread-priority.ts';
import type { DeliveryEvent } from './delivery.ts';
import { startForwarder } from './forwarder.ts';
import type { SinkStatus } from './status.ts';

/*
 * The forwarder's thread, with its own database connection. It shares only the CPU with recording and, for about a
 * millisecond a few times per second, the write lock.
 */

/** The worker's startup options. */
export interface WorkerOptions {
  readonly path: string;
  readonly urls: readonly ForwardUrl[];
  readonly node: string;
  readonly s3: S3Access;
}

/** A command for the worker. */
export type Command =
  | { readonly do: 'retry'; readonly sink: string }
  | { readonly do: 'reset'; readonly sink: string; readonly seq: number };

/** What each command returns. */
export interface CommandResults {
  readonly retry: number;
  readonly reset: undefined;
}

export type Message = (Command & { readonly id: number }) | 'close';

/** A message from the worker. */
export type Report =
  | { readonly statuses: readonly SinkStatus[] }
  | { readonly sink: string; readonly event: DeliveryEvent }
  /** A transaction was committed, which may have restarted the write-ahead log. */
  | 'saved'
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

if (parentPort) run(parentPort, workerData as WorkerOptions);

function run(port: NonNullable<typeof parentPort>, { path, urls, node, s3 }: WorkerOptions): void {
  lowerPriority(); // recording takes precedence on a shared core
  const send = (report: Report) => port.postMessage(report);
  const store = openSinkStore(path);
  const forwarder = startForwarder(
    store,
    urls,
    { node, s3 },
    {
      onEvent: (sink, event) => send({ sink, event }),
      onSaved: () => send('saved'),
      onStatus: () => send({ statuses: forwarder.statuses() }),
    },
  );

  port.on('message', (message: Message) => {
    if (message === 'close') {
      void forwarder
        .close()
        .catch(() => {}) // rows since the last stored cursors are delivered again
        .then(() => {
          store.close();
          port.close();
          process.exit(); // ends this thread only: an engine that hangs may keep it alive
        });
      return;
    }
    const { id } = message;
    try {
      send({ id, value: execute(message) });
      send({ statuses: forwarder.statuses() });
    } catch (error) {
      send({ id, error: messageOf(error) });
    }
  });

  function execute(command: Command): CommandResults[Command['do']] {
    switch (command.do) {
      case 'retry':
        return forwarder.retry(command.sink);
      case 'reset':
        forwarder.reset(command.sink, command.seq);
        return undefined;
    }
  }
}
