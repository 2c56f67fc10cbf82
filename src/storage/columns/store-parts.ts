import type { Database } from 'bun:sqlite';
import type { Transact } from '../job.ts';
import type { TextHash } from '../text-hash.ts';
import { createTransact } from '../transact.ts';
import { ChunkTable } from './chunk-table.ts';
import { Dictionary } from './dictionary.ts';
import { Memtable } from './memtable.ts';
import { type PropertyLimits, PropertyStore } from './property-store.ts';
import { SeriesList } from './series-list.ts';
import { UserRows } from './user-rows.ts';
import { UserSeries } from './user-series.ts';
import { Watermarks } from './watermarks.ts';

/** The parts of a column store that contain its data. There is one set of them, which all operations share. */
export interface StoreParts {
  readonly transact: Transact;
  /** Numbers of user IDs and of labels. */
  readonly users: Dictionary;
  readonly labels: Dictionary;
  readonly series: SeriesList;
  readonly watermarks: Watermarks;
  readonly memtable: Memtable;
  readonly chunks: ChunkTable;
  readonly properties: PropertyStore;
  /** In which series each user has rows. */
  readonly userSeries: UserSeries;
  /** The index of the rows of each user. */
  readonly userRows: UserRows;
}

/** What can be set for tests. */
export interface PartOptions {
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  readonly propertyLimits: PropertyLimits;
  /** The number of rows in the runs of {@link UserRows} from which they are sorted. */
  readonly maxUnsortedRows: number;
}

/** Creates the parts of a column store. They are empty until {@link reloadParts} is called. */
export function createParts(client: Database, hash: TextHash, options: PartOptions): StoreParts {
  const { now, propertyLimits, maxUnsortedRows } = options;
  const transact = createTransact(client);
  const series = new SeriesList(client);
  const chunks = new ChunkTable(client, {
    chunkAdded: () => properties.chunkAdded(),
    chunkRewritten: (id) => properties.chunkRewritten(id),
  });
  const properties = new PropertyStore(client, transact, chunks, hash, now, propertyLimits);
  return {
    transact,
    users: new Dictionary(client, 'users', transact, hash),
    labels: new Dictionary(client, 'labels', transact, hash),
    series,
    watermarks: new Watermarks(client, series),
    memtable: new Memtable(),
    chunks,
    properties,
    userSeries: new UserSeries(client, transact),
    userRows: new UserRows(client, transact, maxUnsortedRows),
  };
}

/** Drops the in-memory state of all parts and reloads it from the database. */
export function reloadParts(parts: StoreParts): void {
  parts.memtable.clear();
  parts.chunks.clearCache();
  parts.properties.reload();
  parts.userSeries.reload();
  parts.userRows.reload();
  parts.users.reload();
  parts.labels.reload();
  parts.watermarks.reload();
  parts.series.reload();
}
