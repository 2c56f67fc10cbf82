import { parentPort } from 'node:worker_threads';
import type { ToReceiver } from '../../src/receiving/protocol.ts';
import '../../src/receiving/worker.ts';

/** A receiver that exits when it should send the response "exit". */
parentPort?.on('message', (message: ToReceiver) => {
  if (!('do' in message) && message.includes('exit')) process.exit(1);
});
