import type { Database } from 'bun:sqlite';
import { recordJson } from '../export/encode.ts';
import { type ExportQuery, exportRecords } from '../export/export.ts';
import type { Kind } from '../records.ts';
import { ColumnStore } from '../storage/columns/column-store.ts';
import { type Erased, eraseUser } from '../storage/erasure.ts';
import { type RecordFilter, readWindow } from '../storage/records.ts';
import { type ActivityQuery, activity } from './activity.ts';
import { counts } from './counts.ts';
import { type FunnelQuery, funnel } from './funnel.ts';
import { names } from './names.ts';
import { type RetentionQuery, retention } from './retention.ts';
import { type BucketQuery, type Budget, createBudget, type QueryLimits, TooLarge } from './selection.ts';
import { serialize } from './serialize.ts';
import { series } from './series.ts';

/** The limits of a query. */
const QUERY_LIMITS: QueryLimits = { timeoutMs: 10_000, maxResultBytes: 32_000_000, isCanceled: () => false };
/** How long a page of records is looked for, in milliseconds: what has been found by then is the page. */
const PAGE_TIME = 1_000;

/** For how long new rows are taken in at once when nobody asks, in milliseconds. */
const FOLLOW_TIME = 200;

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
export function createEngine(client: Database) {
  const store = new ColumnStore(client);
  const exports = new Map<number, Generator<Uint8Array>>();
  let lastExport = 0;

  /** Runs a query, and returns its result as JSON text. */
  function run(query: (budget: Budget) => unknown): string {
    const budget = createBudget(QUERY_LIMITS);
    store.catchUp(budget.check);
    return serialize(query(budget), budget);
  }

  return {
    names: ({ kind, user }: { kind: Kind; user: string | undefined }) =>
      run((budget) => names(store, kind, user, budget)),
    series: (question: BucketQuery) => run((budget) => series(store, question, budget)),
    counts: (question: BucketQuery) => run((budget) => counts(store, question, budget)),
    funnel: (question: FunnelQuery) => run((budget) => funnel(store, question, budget)),
    retention: (question: RetentionQuery) => run((budget) => retention(store, question, budget)),
    activity: (question: ActivityQuery) => run((budget) => activity(store, question, budget)),

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

    /** Removes every trace of a user. */
    erase: (userId: string): Erased => eraseUser(client, store, userId),
    /** Makes the column store anew from the rows. */
    rebuild: (): void => store.rebuild(),
    /** Takes in what is new, for a moment; tells whether that was all. */
    follow(): boolean {
      const budget = createBudget({ ...QUERY_LIMITS, timeoutMs: FOLLOW_TIME });
      try {
        store.catchUp(budget.check);
        return true;
      } catch (error) {
        if (error instanceof TooLarge) return false;
        throw error;
      }
    },
    /** Takes in all that is new. */
    catchUp: (): void => store.catchUp(),
  };
}

export type Engine = ReturnType<typeof createEngine>;
