import { recordJson } from '../export/encode.ts';
import { type ExportQuery, exportRecords } from '../export/export.ts';
import type { Kind } from '../records.ts';
import { type Erased, eraseUser, finishErasures, finishOverwriting } from '../storage/erasure.ts';
import type { Job } from '../storage/job.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { type RecordFilter, readWindow } from '../storage/records.ts';
import { type ActivityQuery, activity } from './activity.ts';
import { counts } from './counts.ts';
import { type FunnelQuery, funnel } from './funnel.ts';
import { names } from './names.ts';
import { type RetentionQuery, retention } from './retention.ts';
import { type BucketQuery, createBudget } from './selection.ts';
import { series } from './series.ts';

/** How long a question may take, in milliseconds, and how many rows it may look at. */
const QUESTION_LIMITS = { milliseconds: 10_000, rows: 100_000_000 };
/** How long a page of records is looked for, in milliseconds: what has been found by then is the page. */
const PAGE_TIME = 1_000;

/** For how long a query first catches up with recording, in milliseconds. */
const CATCH_UP_TIME = 250;

/** A page of records. */
export interface PageQuery {
  readonly kind: Kind;
  readonly filter: RecordFilter;
  /** The `seq` below which to begin; undefined: at the newest. */
  readonly before: number | undefined;
  readonly limit: number;
}

/**
 * Everything that can be asked of a database, by name. Engine are JSON text, save pages and exports. Each
 * question sees all rows that were committed when it was asked.
 */
export function createEngine(storage: ReaderStorage) {
  const { client, store, list } = storage;
  const exports = new Map<number, Generator<Uint8Array>>();
  let lastExport = 0;

  function budget() {
    const spend = createBudget(QUESTION_LIMITS.milliseconds, QUESTION_LIMITS.rows);
    catchUp();
    return spend;
  }

  return {
    names: ({ kind, user }: { kind: Kind; user: string | undefined }) =>
      JSON.stringify(names(store, kind, user, budget())),
    series: (question: BucketQuery) => JSON.stringify(series(store, question, budget())),
    counts: (question: BucketQuery) => JSON.stringify(counts(store, question, budget())),
    funnel: (question: FunnelQuery) => JSON.stringify(funnel(store, question, budget())),
    retention: (question: RetentionQuery) => JSON.stringify(retention(store, question, budget())),
    activity: (question: ActivityQuery) => JSON.stringify(activity(store, question, budget())),

    /** A page: records as JSON texts, and the `seq` to go on below; undefined at the end. */
    page({ kind, filter, before, limit }: PageQuery): { records: string[]; next: number | undefined } {
      const deadline = performance.now() + PAGE_TIME;
      const found: string[] = [];
      let next: number | undefined = before ?? Number.MAX_SAFE_INTEGER;
      do {
        const window: ReturnType<typeof readWindow> = readWindow(
          client,
          kind,
          filter,
          next,
          'newest',
          limit - found.length,
        );
        for (const row of window.rows) found.push(recordJson(kind, row));
        next = window.next;
      } while (next !== undefined && found.length < limit && performance.now() < deadline);
      return { records: found, next };
    },

    /** Begins an export; its parts are asked for one by one. */
    openExport(question: ExportQuery): number {
      exports.set(++lastExport, exportRecords(client, question));
      return lastExport;
    },
    /** The next part of an export; undefined when it is complete. */
    nextPart(id: number): Uint8Array | undefined {
      const { value, done } = exports.get(id)?.next() ?? { value: undefined, done: true };
      if (done) exports.delete(id);
      return value || undefined;
    },
    closeExport(id: number): void {
      exports.delete(id);
    },

    /** Erases a user. */
    erase: (userId: string): Job<Erased> => eraseUser(storage, userId),
    /** Finishes what was begun before the last stop: a rebuild, erasures. */
    *resume(): Job<Erased> {
      yield* store.finishRebuild();
      return yield* finishErasures(storage);
    },
    /** Rebuilds the column store from the rows. */
    rebuild: (): Job<void> => store.rebuild(),
    /** Applies every row that is committed by now, and overwrites what erasures have left for it. */
    *catchUp(): Job<void> {
      yield* store.catchUp();
      finishOverwriting(client, store, list);
    },
    /** How many erasures are not finished, or not overwritten in every file. */
    pendingErasures: (): number => list.pending(),
  };

  function catchUp(): void {
    const deadline = performance.now() + CATCH_UP_TIME;
    while (!store.step() && performance.now() < deadline) {
      // there is more
    }
  }
}

export type Engine = ReturnType<typeof createEngine>;
