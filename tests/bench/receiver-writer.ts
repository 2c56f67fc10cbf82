import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { createCommitQueue } from '../../src/ingest/commit-queue.ts';
import { createIdSource } from '../../src/ingest/ids.ts';
import { createLedger } from '../../src/ingest/ledger.ts';
import { createStamper } from '../../src/ingest/stamper.ts';
import { openStorage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import type { Received, Stored } from './receiver.ts';

/*
 * The writer of the trial in receivers.ts: the main thread of a process, with the commit queue of rawlog. Receivers pass it
 * metrics, and it returns their IDs once they are on disk. Arguments: the folder of the database, and the number of receivers.
 */
const [folder = '', receivers = '1'] = process.argv.slice(2);
const writer = createWriter(openStorage(join(folder, 'rawlog.db')));
const fail = (error: unknown) => {
  throw error;
};
const queue = createCommitQueue(writer, createLedger(writer.counts()), { rows: 50_000, bytes: 2 ** 26 }, fail);
const stamper = createStamper(createIdSource(Date.now, writer.lastSeq()), Date.now, 0);
/** Approximate memory of a queued metric, in bytes. */
const METRIC_BYTES = 200;

await Promise.all(
  Array.from({ length: Number(receivers) }, () => {
    const worker = new Worker(new URL('./receiver.ts', import.meta.url));
    const ready = Promise.withResolvers<void>();
    worker.on('message', (message: Received | 'listening') => {
      if (message === 'listening') return ready.resolve();
      const { turn, metrics } = message;
      const records = metrics.map(([user, metric_name, metric_value, data_string]) =>
        stamper.metric(user, { metric_name, metric_value, data_string }, false, ['body']),
      );
      queue
        .store(records, records.length * METRIC_BYTES)
        .then(() => worker.postMessage({ turn, ids: records.map(({ id }) => id) } satisfies Stored), fail);
    });
    worker.on('error', fail);
    return ready.promise;
  }),
);
console.log('listening');
