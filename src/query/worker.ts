import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { openForReading } from '../storage/database.ts';
import { createEngine, type Engine } from './engine.ts';
import { TooLarge } from './selection.ts';

/*
 * The thread that answers questions, with a connection of its own. Whatever it does, requests that record
 * go on: it only shares the processor, and for a moment the writer's lock when it writes chunks.
 */

/** What the thread is asked. */
export interface Asked {
  readonly id: number;
  readonly name: keyof Engine;
  readonly argument: unknown;
}

/** What it answers: a value, or an error by its kind. */
export type Answered =
  | { readonly id: number; readonly value: unknown }
  | {
      readonly id: number;
      readonly error: { readonly tooLarge: boolean; readonly message: string; readonly errno?: number };
    };

if (parentPort) {
  // of this thread alone, on Linux: where it shares a core with the requests that record, they go first
  setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);
  const port = parentPort;
  const client = openForReading((workerData as { path: string }).path);
  const answers = createEngine(client);
  port.on('message', (message: Asked | 'close') => {
    if (message === 'close') {
      client.close();
      port.close();
      return;
    }
    const { id, name, argument } = message;
    try {
      // the names and their arguments are paired where the question is asked: see QueryClient
      const value = (answers[name] as (argument: unknown) => unknown)(argument);
      port.postMessage({ id, value } satisfies Answered);
    } catch (error) {
      const { message: text, errno } = error as Error & { errno?: number };
      const tooLarge = error instanceof TooLarge;
      port.postMessage({
        id,
        error: { tooLarge, message: text, ...(errno !== undefined && { errno }) },
      } satisfies Answered);
    }
  });
}
