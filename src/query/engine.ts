import { recordJson } from '../export/encode.ts';
import { type ExportQuery, exportRecords } from '../export/export.ts';
import type { Kind } from '../records.ts';
import { finishOverwriting } from '../storage/blanking.ts';
import { READER_BUSY_TIMEOUT_MS } from '../storage/database.ts';
import { countMatching, deleteRecords, finishDeletions } from '../storage/deletion.ts';
import type { DeletionFilter } from '../storage/deletion-list.ts';
import { type ErasedRows, eraseUser, finishErasures } from '../storage/erasure.ts';
import type { Job } from '../storage/job.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { countRowsAfter, type RecordFilter, type ScanPosition } from '../storage/records.ts';
import { createRecordReader } from '../storage/user-records.ts';
import { shrinkWal } from '../storage/wal.ts';
import { type ActivityQuery, activity } from './activity.ts';
import { type Budget, createBudget, type QueryLimits } from './budget.ts';
import { counts } from './counts.ts';
import { type FunnelQuery, funnel } from './funnel.ts';
import { names } from './names.ts';
import { type RetentionQuery, retention } from './retention.ts';
import type { BucketQuery } from './selection.ts';
import { serialize } from './serialize.ts';
import { series } from './series.ts';

/** Time limit for reading a page of records, in milliseconds; the page then contains the records found so far. */
const PAGE_TIMEOUT_MS = 1_000;
/** Approximate size of a page's rows, in bytes, at which the page ends early. */
const PAGE_BYTES = 8 * 1024 * 1024;
/** Longest time a query spends catching up before it runs, in milliseconds. */
const CATCH_UP_TIMEOUT_MS = 250;
/** Largest reported ingest lag, in rows. */
const MAX_LAG_ROWS = 1_000_000;

/** A query for a page of records, newest first. */
export interface PageQuery {
  readonly kind: Kind;
  readonly filter: RecordFilter;
  /** Returns records below this `seq`; undefined: from the newest. */
  readonly before: number | undefined;
  readonly limit: number;
}

/** The records to delete. */
export interface DeletionQuery {
  readonly kind: Kind;
  readonly filter: DeletionFilter;
}

/** A page of records. */
export interface Page {
  /** The records as JSON. */
  readonly records: string[];
  /** The `before` of the next page; undefined after the last page. */
  readonly next: number | undefined;
}

/** The number of committed rows not yet applied to the column store, and the age of the oldest. */
export interface IngestLag {
  readonly rows: number;
  readonly seconds: number;
}

/**
 * Creates the query engine of a database.
 *
 * - `queries` return JSON text, except for a page of records. Each first catches up, for at most 250 ms; a page does not,
 *   since it reads the stored rows.
 * - `exports` return records in parts.
 * - `maintenance` returns jobs, whose steps the caller runs between queries.
 *
 * @param limits the limits of each query
 */
export function createQueryEngine(storage: ReaderStorage, limits: QueryLimits) {
  const { client, store, list, deletions } = storage;
  const exports = new Map<number, Generator<Uint8Array>>();

  function run(query: (budget: Budget) => unknown): string {
    const budget = createBudget(limits);
    catchUp();
    return serialize(query(budget), budget);
  }

  function catchUp(): void {
    const deadline = performance.now() + CATCH_UP_TIMEOUT_MS;
    while (!store.step() && performance.now() < deadline) {
      // more rows to apply
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
        const deadline = performance.now() + PAGE_TIMEOUT_MS;
        const read = createRecordReader(storage, kind, filter, 'newest');
        const records: string[] = [];
        let bytes = 0;
        let next: ScanPosition | undefined = { after: before ?? Number.MAX_SAFE_INTEGER };
        do {
          const room = { rows: limit - records.length, bytes: PAGE_BYTES - bytes };
          const window: ReturnType<typeof read> = read(next, room);
          for (const row of window.rows) records.push(recordJson(kind, row));
          bytes += window.bytes;
          next = window.next;
          if (limits.isCanceled()) break;
        } while (next !== undefined && records.length < limit && bytes < PAGE_BYTES && performance.now() < deadline);
        return { records, next: next?.after };
      },
    },

    exports: {
      /** Opens an export under an ID chosen by the caller. */
      open(id: number, query: ExportQuery): void {
        exports.set(
          id,
          exportRecords(client, query, undefined, createRecordReader(storage, query.kind, query.filter, 'oldest')),
        );
      },
      /**
       * Returns the next part, which may be empty; undefined once the export is complete. Each part has its own buffer.
       *
       * @throws {Error} if there is no such export, because it has failed or the worker has restarted
       */
      next(id: number): Uint8Array | undefined {
        const parts = exports.get(id);
        if (!parts) throw new Error(`no export with ID ${id}`);
        exports.delete(id); // if it fails, a retry must not look like the end of the export
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
      /** Erases a user's data. */
      erase: (userId: string): Job<ErasedRows> => eraseUser(storage, userId),
      /** Deletes the records that match a filter. Returns their number. */
      delete: ({ kind, filter }: DeletionQuery): Job<number> => deleteRecords(storage, kind, filter),
      /** Returns the number of records that match a filter. */
      countMatching: ({ kind, filter }: DeletionQuery): Job<number> => countMatching(client, kind, filter),
      /** Finishes the rebuild, the erasures and the deletions that were interrupted. */
      *resume(): Job<void> {
        yield* store.finishRebuild();
        yield* finishErasures(storage);
        yield* finishDeletions(storage);
      },
      /** Rebuilds the column store from the stored rows. */
      rebuild: (): Job<void> => store.rebuild(),
      /**
       * Applies all committed rows, finishes overwriting erased and deleted data, shrinks the write-ahead log, and builds
       * columns of properties for about half a second.
       *
       * @returns whether columns are still missing and can be built now
       */
      *catchUp(): Job<boolean> {
        yield* store.catchUp();
        finishOverwriting(storage);
        shrinkWal(client, READER_BUSY_TIMEOUT_MS);
        return yield* store.buildProperties();
      },
    },

    /** Returns the current ingest lag. */
    lag(): IngestLag {
      const unapplied = (['metric', 'analytics'] as const).map((kind) =>
        countRowsAfter(client, kind, store.position(kind), MAX_LAG_ROWS),
      );
      const oldest = Math.min(...unapplied.map(({ oldestReceivedAt }) => oldestReceivedAt ?? Number.POSITIVE_INFINITY));
      const seconds = Number.isFinite(oldest) ? Math.max(0, Date.now() - oldest / 1000) / 1000 : 0;
      return { rows: unapplied.reduce((sum, { rows }) => sum + rows, 0), seconds };
    },
    /** Returns the number of erasures and deletions that are unfinished or not yet overwritten in every file. */
    pendingRemovals: () => list.pending() + deletions.pending(),
  };
}

export type QueryEngine = ReturnType<typeof createQueryEngine>;
export type Queries = QueryEngine['queries'];
export type Maintenance = QueryEngine['maintenance'];
