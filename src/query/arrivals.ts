import type { Kind } from '../records.ts';
import type { ColumnStore, Extent, Series } from '../storage/columns/column-store.ts';
import { SERIES_PER_CHECK } from '../storage/columns/series-reader.ts';
import { QUARTER_US } from '../storage/columns/summary.ts';
import type { Budget } from './budget.ts';
import { seriesNamed } from './selection.ts';
import { TopList } from './top-list.ts';

/*
 * When rows of a series arrive, by their timestamps: which series are quiet, and how long they were quiet before. For
 * alerts. All times are in microseconds since 1970.
 */

/** The name of a series. */
export interface SeriesName {
  readonly kind: Kind;
  readonly name: string;
}

/** A query for the series whose newest row happened in a range. */
export interface QuietQuery {
  /** The range of the newest row: [from, to). */
  readonly from: number;
  readonly to: number;
  /** Maximum number of these series: those with the most rows. */
  readonly limit: number;
  /** Series with a longer name, in UTF-16 code units, are left out. */
  readonly maxNameLength: number;
  /** Series that are returned in any case, before the others, if they have rows. */
  readonly named: readonly SeriesName[];
}

/** A series in the result of a {@link QuietQuery}. */
export interface QuietSeries extends SeriesName {
  /** The times of the oldest and the newest row. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Lists the series whose newest row happened in a range. Reads no chunks. */
export function quiet(store: ColumnStore, query: QuietQuery, budget: Budget): Iterable<QuietSeries> {
  const { from, to, limit, maxNameLength } = query;
  const named = query.named.flatMap(({ kind, name }) => {
    budget.check();
    return seriesNamed(store, kind, name).flatMap((series) => {
      const extent = store.extent(series);
      return extent ? [quietSeries(series, extent)] : [];
    });
  });
  const isNamed = new Set(query.named.map(({ kind, name }) => `${kind} ${name}`));
  const most = new TopList<{ readonly series: Series; readonly extent: Extent }>(
    limit,
    (a, b) => b.extent.rows - a.extent.rows || a.series.id - b.series.id,
  );
  for (const [i, entry] of store.extents(undefined, budget.check).entries()) {
    if (i % SERIES_PER_CHECK === 0) budget.check();
    const { kind, name } = entry.series;
    if (entry.extent.maxTime < from || entry.extent.maxTime >= to || name.length > maxNameLength) continue;
    if (!isNamed.has(`${kind} ${name}`)) most.add(entry);
  }
  return [...named, ...most.sorted().map(({ series, extent }) => quietSeries(series, extent))];
}

function quietSeries({ kind, name }: Series, { minTime, maxTime }: Extent): QuietSeries {
  return { kind, name, firstAt: minTime, lastAt: maxTime };
}

/** A query for how regularly rows of a series arrived in a range. */
export interface ArrivalsQuery extends SeriesName {
  /** The range: [from, to). */
  readonly from: number;
  readonly to: number;
  /** Users are counted up to this number. */
  readonly maxUsers: number;
}

/** The result of an {@link ArrivalsQuery}. */
export interface Arrivals {
  /** The number of users with rows in the range, up to `maxUsers`; fewer if they are not among the newest rows. */
  readonly users: number;
  /**
   * The longest time between two rows, rounded up to quarter hours: at most half an hour too long. 0 if there is none. If the
   * series has rows before the range, the time from the start of the range to its first row counts, too.
   */
  readonly longestGapSeconds: number;
}

/** Rows in which users are looked for, the newest first. */
const MAX_USER_ROWS = 2 ** 20;

/**
 * Finds the longest time without rows of a series, and counts its users. Reads the summaries of its chunks, and the rows only
 * where there is none, and until there are enough users.
 */
export function arrivals(store: ColumnStore, query: ArrivalsQuery, budget: Budget): Arrivals {
  const { from, to, maxUsers } = query;
  const firstQuarter = Math.floor(from / QUARTER_US);
  const quarterCount = Math.max(0, Math.ceil(to / QUARTER_US) - firstQuarter);
  budget.reserve(quarterCount);
  /** By quarter hour of the range: 1 if it has rows. */
  const hasRows = new Uint8Array(quarterCount);
  const users = new Set<number>();
  let searchedRows = 0;
  const named = seriesNamed(store, query.kind, query.name);
  const outlines = named.flatMap((series) => [...store.outlines(series, from, to)]);
  for (const outline of outlines.reverse()) {
    budget.check();
    const quarters = outline.quarters();
    for (const number of quarters?.numbers ?? []) {
      const quarter = number - firstQuarter;
      if (quarter >= 0 && quarter < quarterCount) hasRows[quarter] = 1;
    }
    const needsUsers = users.size < maxUsers && searchedRows < MAX_USER_ROWS;
    if (quarters && !needsUsers) continue;
    const chunk = outline.read();
    searchedRows += chunk.rows;
    for (let row = 0; row < chunk.rows; row++) {
      const time = chunk.times[row] as number;
      if (time < from || time >= to) continue;
      hasRows[Math.floor(time / QUARTER_US) - firstQuarter] = 1;
      if (users.size < maxUsers) users.add(chunk.users[row] as number);
    }
  }
  // a monthly job has rows at the end of the range only, and began before it
  if (quarterCount > 0 && named.some((series) => (store.extent(series)?.minTime ?? from) < from)) hasRows[0] = 1;
  return { users: users.size, longestGapSeconds: (longestGap(hasRows) * QUARTER_US) / 1e6 };
}

/** Returns the longest gap between two quarter hours with rows, from the start of one to the end of the other. */
function longestGap(hasRows: Uint8Array): number {
  let longest = 0;
  let last = -1;
  for (let quarter = 0; quarter < hasRows.length; quarter++) {
    if (hasRows[quarter] === 0) continue;
    if (last >= 0) longest = Math.max(longest, quarter - last + 1);
    last = quarter;
  }
  return longest;
}
