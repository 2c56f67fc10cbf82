import { connectToServer } from '../control/client.ts';
import type { ControlArgument, ControlCommandName, ControlResults } from '../control/protocol.ts';
import { catchSignals, InterruptedError } from '../durable-file.ts';
import { type Job, runJob } from '../storage/job.ts';
import { type OfflineConfig, type OfflineDatabase, openOffline } from './open-database.ts';
import { report } from './output.ts';
import { createProgressBar } from './progress-bar.ts';

/** Runs a job to completion and shows its progress. */
export type RunJob = <Result>(job: Job<Result>) => Result;

/**
 * Runs a command in the server that has the database open, if there is one; otherwise in this process. The
 * progress is shown in the terminal.
 *
 * @throws {InterruptedError} after a signal. The server then finishes the command on its own
 * @throws {Error} with a message for the operator, if the command fails or the database cannot be opened
 */
export async function runInServerOrHere<Name extends ControlCommandName>(
  config: OfflineConfig,
  name: Name,
  argument: ControlArgument<Name>,
  offline: (database: OfflineDatabase, run: RunJob) => ControlResults[Name] | Promise<ControlResults[Name]>,
): Promise<ControlResults[Name]> {
  using server = await connectToServer(config.databasePath);
  using bar = createProgressBar();
  if (!server) {
    using database = await openOffline(config);
    return await offline(database, (job) => runJob(job, bar.show));
  }
  using signals = catchSignals();
  const disconnect = new AbortController();
  const result = server.run(name, argument, { onProgress: bar.show, signal: disconnect.signal });
  const outcome = await Promise.race([result, signals.received.then((signal) => new InterruptedError(signal))]);
  if (!(outcome instanceof InterruptedError)) return outcome;
  result.catch(() => {}); // the server is not waited for
  disconnect.abort();
  report('Disconnected. The server finishes the command on its own.');
  throw outcome;
}
