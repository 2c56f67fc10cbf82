import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { runJob } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
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
  const storage = openReader((workerData as { path: string }).path);
  const answers = createEngine(storage);
  port.on('message', (message: Asked | 'close') => {
    if (message === 'close') {
      storage.close();
      port.close();
      return;
    }
    const { id, name, argument } = message;
    try {
      // the names and their arguments are paired where the question is asked: see QueryClient
      const returned = (answers[name] as (argument: unknown) => unknown)(argument);
      const value = isJob(returned) ? runJob(returned) : returned;
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

function isJob(value: unknown): value is Generator<void, unknown> {
  return typeof value === 'object' && value !== null && 'next' in value && Symbol.iterator in value;
}
