import type { ImportOutcome } from '../storage/import.ts';
import type { JobProgress } from '../storage/job.ts';

/** The steps of an import, which the server provides. */
export interface ImportSteps {
  /** Returns a key that is smaller than all that the server will assign, once all rows up to it are committed. */
  begin(): Promise<number>;
  /** Stores the records of a batch. */
  store(text: string, newestSeq: number): Promise<readonly ImportOutcome[]>;
  /** Makes the records durable and shows them in queries. */
  finish(onProgress: (progress: JobProgress) => void): Promise<void>;
}

/** Imports into the database of the running server, one at a time. */
export interface ImportSessions {
  /**
   * Runs an import: accepts batches until {@link end} is called or the command line disconnects, then finishes.
   *
   * @param onReady called when batches are accepted
   * @throws {Error} if another import is running
   */
  run(onReady: () => void, signal: AbortSignal, onProgress: (progress: JobProgress) => void): Promise<void>;
  /**
   * Stores a batch.
   *
   * @throws {Error} if no import is running
   */
  store(text: string): Promise<readonly ImportOutcome[]>;
  /** Ends the import. */
  end(): void;
}

/** Creates the imports of a server. */
export function createImportSessions({ begin, store, finish }: ImportSteps): ImportSessions {
  let session: { newestSeq: number; end: () => void } | undefined;
  let isRunning = false;
  /** Batches are stored one after the other. The import is finished after the last one. */
  let lastBatch: Promise<unknown> = Promise.resolve();
  return {
    async run(onReady, signal, onProgress) {
      if (isRunning) throw new Error('Another import is running. Retry when it has ended.');
      isRunning = true;
      try {
        const newestSeq = await begin();
        const ended = Promise.withResolvers<void>();
        session = { newestSeq, end: ended.resolve };
        signal.addEventListener('abort', () => ended.resolve());
        if (signal.aborted) ended.resolve();
        onReady();
        await ended.promise;
        session = undefined;
        await lastBatch;
        await finish(onProgress);
      } finally {
        session = undefined;
        isRunning = false;
      }
    },
    store(text) {
      const current = session;
      if (!current) return Promise.reject(new Error('No import is running.'));
      const stored = lastBatch.then(() => store(text, current.newestSeq));
      lastBatch = stored.catch(() => {});
      return stored;
    },
    end: () => session?.end(),
  };
}
