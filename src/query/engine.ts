import { recordJson } from '../export/encode.ts';
import { type ExportQuery, exportRecords } from '../export/export.ts';
import type { Retention } from '../formats/retention.ts';
import type { Kind } from '../records.ts';
import { finishOverwriting } from '../storage/blanking.ts';
import { READER_BUSY_TIMEOUT_MS } from '../storage/database.ts';
import { countMatching, deleteRecords, finishDeletions } from '../storage/deletion.ts';
import type { DeletionFilter } from '../storage/deletion-list.ts';
import { type Growth, readGrowth } from '../storage/disk-forecast.ts';
import { type ErasedRows, eraseUser, finishErasures } from '../storage/erasure.ts';
import { IN_BACKGROUND, type Job } from '../storage/job.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { readPageUse, reclaimSpace, type SpaceReserve } from '../storage/reclaiming.ts';
import { countRowsAfter, type RecordFilter, type ScanPosition } from '../storage/records.ts';
import { countExpired, type Pruned, type PruneRequest, pruneRecords } from '../storage/retention.ts';
import { dropSink } from '../storage/sink-store.ts';
import { readSpaceUse, type SpaceUse } from '../storage/space-use.ts';
import { createRecordReader } from '../storage/user-records.ts';
import { shrinkWal } from '../storage/wal.ts';
import { type ActivityQuery, activity } from './activity.ts';
import { type ArrivalsQuery, arrivals, type QuietQuery, quiet } from './arrivals.ts';
import { type Budget, createBudget, type QueryLimits } from './budget.ts';
import { counts } from './counts.ts';
import { type FunnelQuery, funnel } from './funnel.ts';
import {
  findMissingSources,
  type ImportBatch,
  type ImportedBatch,
  importBatch,
  type SourceIds,
} from './import-batch.ts';
import { names } from './names.ts';
import { createPage } from './page.ts';
import { type RetentionQuery, retention } from './retention.ts';
import type { BucketQuery } from './selection.ts';
import { serialize } from './serialize.ts';
import { series } from './series.ts';

/** Time limit for reading a page of records, in milliseconds; the page then contains the records found so far. */
const PAGE_TIMEOUT_MS = 1_000;
/** Longest time a query spends catching up before it runs, in milliseconds. */
const CATCH_UP_TIMEOUT_MS = 250;
/** Longest run time of the queries that only the server makes, in milliseconds: those of users wait for them. */
const BACKGROUND_TIMEOUT_MS = 5_000;
/** How long the use of space is cached, in milliseconds. */
const SPACE_USE_CACHE_MS = 10_000;
/** How long the growth is cached, in milliseconds. */
const GROWTH_CACHE_MS = 300_000;
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
 * @param databaseFile file descriptor of the database file; undefined if nothing is recorded meanwhile
 */
export function createQueryEngine(storage: ReaderStorage, limits: QueryLimits, databaseFile?: number) {
  const { client, store, list, deletions } = storage;
  const exports = new Map<number, Generator<Uint8Array>>();
  let spaceUse: { readonly at: number; readonly value: SpaceUse } | undefined;
  let lastGrowth: { readonly at: number; readonly value: Growth | undefined } | undefined;

  const inBackground = { ...limits, timeoutMs: Math.min(limits.timeoutMs, BACKGROUND_TIMEOUT_MS) };

  function run(query: (budget: Budget) => unknown, queryLimits = limits): string {
    const budget = createBudget(queryLimits);
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
      quiet: (query: QuietQuery) => run((budget) => quiet(store, query, budget), inBackground),
      arrivals: (query: ArrivalsQuery) => run((budget) => arrivals(store, query, budget), inBackground),
      page({ kind, filter, before, limit }: PageQuery): Page {
        const deadline = performance.now() + PAGE_TIMEOUT_MS;
        const read = createRecordReader(storage, kind, filter, 'newest');
        const { records, room, add } = createPage(limits.maxResultBytes);
        let last: number | undefined;
        let next: ScanPosition | undefined = { after: before ?? Number.MAX_SAFE_INTEGER };
        do {
          const window: ReturnType<typeof read> = read(next, { rows: limit - records.length, bytes: room() });
          for (const row of window.rows) {
            if (!add([recordJson(kind, row)])) return { records, next: last };
            last = row.seq;
          }
          next = window.next;
          if (limits.isCanceled()) break;
        } while (next !== undefined && records.length < limit && room() > 0 && performance.now() < deadline);
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
      /** Deletes the records that have expired. Other maintenance runs between its steps. */
      prune: (request: PruneRequest): Job<Pruned> => pruneRecords(storage, request, IN_BACKGROUND),
      /** Returns what {@link prune} would delete. */
      countExpired: (request: PruneRequest): Job<Pruned> => countExpired(storage, request),
      /**
       * Gives the space of deleted rows back to the file system. Other maintenance runs between its steps.
       *
       * @returns whether the file can shrink while it is open
       */
      *reclaim(reserve: SpaceReserve): Job<boolean> {
        yield* reclaimSpace(storage, reserve, IN_BACKGROUND);
        return readPageUse(client).canShrink;
      },
      /** Finishes the rebuild, the erasures and the deletions that were interrupted. */
      *resume(): Job<void> {
        yield* store.finishRebuild();
        yield* finishErasures(storage);
        yield* finishDeletions(storage);
      },
      /** Imports a batch of exported records. */
      importBatch: (batch: ImportBatch): Job<ImportedBatch> => importBatch(storage, batch),
      /** Returns which of some IDs of another database were not imported, as indexes. */
      findMissingSources: (ids: SourceIds): Job<number[]> => findMissingSources(storage, ids),
      /** Removes a sink, which no forwarder may use. Returns whether it existed. */
      dropSink: (name: string): Job<boolean> => dropSink(client, name),
      /** Rebuilds the column store from the stored rows. */
      rebuild: (): Job<void> => store.rebuild(),
      /** Rebuilds the column store if an import has stored rows. */
      finishImport: (): Job<void> => store.rebuildAfterImport(),
      /**
       * Applies all committed rows, finishes overwriting erased and deleted data, shrinks the write-ahead log, and builds
       * columns of properties for about half a second.
       *
       * @returns whether columns are still missing and can be built now
       */
      *catchUp(): Job<boolean> {
        yield* store.catchUp();
        finishOverwriting(storage);
        shrinkWal(client, READER_BUSY_TIMEOUT_MS, databaseFile);
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
    /** Returns what uses the space of the database, as of the last ten seconds. */
    spaceUse(): SpaceUse {
      const now = performance.now();
      if (!spaceUse || now - spaceUse.at > SPACE_USE_CACHE_MS) spaceUse = { at: now, value: readSpaceUse(client) };
      return spaceUse.value;
    },
    /**
     * Returns how the database has grown, as of the last five minutes; undefined if that cannot be determined.
     *
     * @param retention the settings of the server, which do not change
     */
    growth(retention: Retention): Growth | undefined {
      const now = performance.now();
      if (!lastGrowth || now - lastGrowth.at > (lastGrowth.value ? GROWTH_CACHE_MS : SPACE_USE_CACHE_MS)) {
        lastGrowth = { at: now, value: readGrowth(client, Date.now(), retention) ?? lastGrowth?.value };
      }
      return lastGrowth.value;
    },
  };
}

export type QueryEngine = ReturnType<typeof createQueryEngine>;
export type Queries = QueryEngine['queries'];
export type Maintenance = QueryEngine['maintenance'];
