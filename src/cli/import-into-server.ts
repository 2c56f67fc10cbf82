import type { RunningServer } from '../control/client.ts';
import { catchSignals, InterruptedError } from '../durable-file.ts';
import type { ImportSession } from './import-here.ts';
import { report } from './output.ts';
import { createProgressBar } from './progress-bar.ts';

/**
 * Imports into the database of the running server, which keeps recording. When it resolves, the records are durable and in
 * all query results.
 *
 * @throws {InterruptedError} after a signal. The records stored so far stay
 * @throws {Error} with a message for the operator; likewise
 */
export async function importIntoServer<Result>(
  server: RunningServer,
  work: (session: ImportSession) => Promise<Result>,
): Promise<Result> {
  using signals = catchSignals();
  const disconnect = new AbortController();
  const outcome = await Promise.race([
    runImport(server, work, disconnect.signal),
    signals.received.then((signal) => new InterruptedError(signal)),
  ]);
  if (!(outcome instanceof InterruptedError)) return outcome;
  disconnect.abort();
  report('The records imported so far are stored. To import the others, run the command again.');
  throw outcome;
}

/** Runs the work within one import. If it fails, the server ends the import, because it is disconnected. */
async function runImport<Result>(
  server: RunningServer,
  work: (session: ImportSession) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const failed = new AbortController();
  using bar = createProgressBar();
  const ready = Promise.withResolvers<void>();
  let isReady = false;
  const finished = server.run(
    'import',
    {},
    {
      signal: AbortSignal.any([signal, failed.signal]),
      onProgress(progress) {
        // the first progress says that the server accepts batches, the others are those of the rebuild
        if (isReady) bar.show(progress);
        isReady = true;
        ready.resolve();
      },
    },
  );
  let result: Result;
  try {
    await Promise.race([ready.promise, finished]);
    result = await work({
      store: (batch) => server.run('import-batch', {}, { body: batch.map(({ text }) => text).join('\n'), signal }),
      missing: (kind, sourceIds) => server.run('import-missing', { kind }, { body: JSON.stringify(sourceIds), signal }),
    });
    await server.run('import-end', {}, { signal });
  } catch (error) {
    finished.catch(() => {}); // the first error is reported
    failed.abort();
    throw error;
  }
  await finished;
  return result;
}
