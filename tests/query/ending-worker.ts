import { parentPort } from 'node:worker_threads';
import type { Message, Outcome } from '../../src/query/worker.ts';

/** A query worker that returns one part of an export, and exits when the next one is requested. */
const port = parentPort;
let parts = 0;
port?.on('message', (message: Message) => {
  if (message === 'close') return port.close();
  if (message.do === 'next-part' && parts++ > 0) process.exit(1);
  const value = message.do === 'next-part' ? new TextEncoder().encode('{"a":1}\n') : undefined;
  port.postMessage({ id: message.id, value } satisfies Outcome);
});
port?.postMessage('ready' satisfies Outcome);
