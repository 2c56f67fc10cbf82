import { SingleBar } from 'cli-progress';
import type { JobProgress } from '../storage/job.ts';

/** A progress bar on standard error, for jobs with several phases. Prints nothing unless it is a terminal. */
export interface ProgressBar extends Disposable {
  show(progress: JobProgress): void;
}

/** Creates a progress bar that appears with the first progress. */
export function createProgressBar(): ProgressBar {
  let phase: string | undefined;
  const bar = new SingleBar({ format: '{bar} {percentage}% | {phase}', stream: process.stderr });
  return {
    show(progress) {
      if (progress.phase !== phase) {
        bar.stop();
        phase = progress.phase;
        bar.start(progress.total, progress.done, { phase });
        return;
      }
      bar.setTotal(progress.total);
      bar.update(progress.done);
    },
    [Symbol.dispose]() {
      if (phase !== undefined) bar.stop();
    },
  };
}
