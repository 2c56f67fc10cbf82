import { recordJson } from '../export/encode.ts';
import { type ExportQuery, exportRecords } from '../export/export.ts';
import type { Kind } from '../records.ts';
import { READER_BUSY_TIMEOUT } from '../storage/database.ts';
import { type Erased, eraseUser, finishErasures, finishOverwriting } from '../storage/erasure.ts';
import type { Job } from '../storage/job.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { countRowsAfter, type RecordFilter, readWindow, type ScanPlace } from '../storage/records.ts';
import { shrinkLog } from '../storage/wal.ts';
import { type ActivityQuery, activity } from './activity.ts';
import { type Budget, createBudget, type QueryLimits } from './budget.ts';
import { counts } from './counts.ts';
import { type FunnelQuery, funnel } from './funnel.ts';
import { names } from './names.ts';
import { type RetentionQuery, retention } from './retention.ts';
import type { BucketQuery } from './selection.ts';
import { serialize } from './serialize.ts';
import { series } from './series.ts';

/** How long a page of records is looked for, in milliseconds: what has been found by then is the page. */
const PAGE_TIME = 1_000;
/** Bytes of a page's rows, about, at which it ends early. */
const PAGE_BYTES = 8 * 1024 * 1024;
/** For how long a query first catches up with recording, in milliseconds. */
const CATCH_UP_TIME = 250;
/** Rows that the lag is counted up to. */
const MAX_LAG_ROWS = 1_000_000;

/** A page of records. */
export interface PageQuery {
  readonly kind: Kind;
  readonly filter: RecordFilter;
  /** The `seq` below which to begin; undefined: at the newest. */
  readonly before: number | undefined;
  readonly limit: number;
}

/** Records as JSON texts, and the `seq` below which to continue; undefined at the end. */
export interface Page {
  readonly records: string[];
  readonly next: number | undefined;
}

/** Committed rows that the column store has not applied yet, and the age of the oldest of them. */
export interface IngestLag {
  readonly rows: number;
  readonly seconds: number;
}

/**
 * Everything that can be asked of a database, by name.
 *
 * - `queries` return JSON text, and a page of records. Each first catches up with recording, for 250 ms at most.
 * - `exports` return records part by part.
 * - `maintenance` are jobs: the caller runs their steps between queries.
 *
 * @param limits of each query
 */
export function createEngine(storage: ReaderStorage, limits: QueryLimits) {
  const { client, store, list } = storage;
  const exports = new Map<number, Generator<Uint8Array>>();

  function run(query: (budget: Budget) => unknown): string {
    const budget = createBudget(limits);
    catchUp();
    return serialize(query(budget), budget);
  }

  function catchUp(): void {
    const deadline = performance.now() + CATCH_UP_TIME;
    while (!store.step() && performance.now() < deadline) {
      // there is more
    }
  }

  return {
    queries: {
      names: ({ kind, user }: { kind: Kind; user: string | undefined }) =>
        run((budget) => names(store, kind, user, budget)),
      series: (query: BucketQuery) => run((budget) => series(store, query, budget)),
      counts: (query: BucketQuery) => run((budget) => counts(store, query, budget)),
      funnel: (query: FunnelQuery) => run((budget) => funnel(store, query, budget)),
      retention: (query: RetentionQuery) => run((budget) => retention(store, query, budget)),
      activity: (query: ActivityQuery) => run((budget) => activity(store, query, budget)),
      page({ kind, filter, before, limit }: PageQuery): Page {
        const deadline = performance.now() + PAGE_TIME;
        const records: string[] = [];
        let bytes = 0;
        let next: ScanPlace | undefined = { after: before ?? Number.MAX_SAFE_INTEGER };
        do {
          const room = { rows: limit - records.length, bytes: PAGE_BYTES - bytes };
          const window: ReturnType<typeof readWindow> = readWindow(client, kind, filter, next, 'newest', room);
          for (const row of window.rows) records.push(recordJson(kind, row));
          bytes += window.bytes;
          next = window.next;
          if (limits.isCanceled()) break;
        } while (next !== undefined && records.length < limit && bytes < PAGE_BYTES && performance.now() < deadline);
        return { records, next: next?.after };
      },
    },

    exports: {
      /** Begins an export under a number that the caller chooses. */
      open(id: number, query: ExportQuery): void {
        exports.set(id, exportRecords(client, query));
      },
      /**
       * Returns the next part, which may be empty and is a buffer of its own; undefined once the export is complete.
       *
       * @throws if there is no such export: it has failed before, or the worker was restarted
       */
      next(id: number): Uint8Array | undefined {
        const parts = exports.get(id);
        if (!parts) throw new Error(`there is no export ${id}`);
        exports.delete(id); // also where it fails: it must not look complete when it is asked again
        const { value, done } = parts.next();
        if (done) return undefined;
        exports.set(id, parts);
        return value;
      },
      close(id: number): void {
        exports.delete(id);
      },
    },

    maintenance: {
      /** Erases a user. */
      erase: (userId: string): Job<Erased> => eraseUser(storage, userId),
      /** Finishes what was begun before the last stop: a rebuild, erasures. */
      *resume(): Job<Erased> {
        yield* store.finishRebuild();
        return yield* finishErasures(storage);
      },
      /** Rebuilds the column store from the rows. */
      rebuild: (): Job<void> => store.rebuild(),
      /**
       * Applies every row that is committed by now, overwrites what erasures have left to be overwritten, and shrinks
       * the write-ahead log.
       */
      *catchUp(): Job<void> {
        yield* store.catchUp();
        finishOverwriting(client, store, list);
        shrinkLog(client, READER_BUSY_TIMEOUT);
      },
    },

    /** How far the column store is behind recording now. */
    lag(): IngestLag {
      const missing = (['metric', 'analytics'] as const).map((kind) =>
        countRowsAfter(client, kind, store.position(kind), MAX_LAG_ROWS),
      );
      const oldest = Math.min(...missing.map(({ oldestReceivedAt }) => oldestReceivedAt ?? Number.POSITIVE_INFINITY));
      const seconds = Number.isFinite(oldest) ? Math.max(0, Date.now() - oldest / 1000) / 1000 : 0;
      return { rows: missing.reduce((sum, { rows }) => sum + rows, 0), seconds };
    },
    /** How many erasures are unfinished, or not overwritten in every file. */
    pendingErasures: () => list.pending(),
  };
}

export type Engine = ReturnType<typeof createEngine>;
export type Queries = Engine['queries'];
export type Maintenance = Engine['maintenance'];
