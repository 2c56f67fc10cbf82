import { createPropertyTest, type PropertyFilter, type PropertyPath } from '../properties.ts';
import { type Kind, type LabelFilter, matchesLabel } from '../records.ts';
import type { Chunk } from '../storage/columns/chunk.ts';
import type { ChunkOutline, ChunkSource, ColumnStore, Extent, Series } from '../storage/columns/column-store.ts';
import { extentOfAll } from '../storage/columns/extent.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import { type Budget, QueryTooLargeError } from './budget.ts';
import { bucketEdges, formatInZone, type Interval, MAX_BUCKETS } from './calendar.ts';
import { perColumn } from './per-column.ts';
import type { RowStore } from './row-store.ts';

/** Parameters of every query over a time range. Times are in microseconds since 1970. */
export interface RangeQuery {
  /** Start of the range; undefined: the time of the first row. */
  readonly from: number | undefined;
  /** End of the range, exclusive; undefined: just after the last row. */
  readonly to: number | undefined;
  /** Selects only rows of this user; undefined: rows of all users. */
  readonly user: string | undefined;
}

/** Parameters of every query that reads rows. */
export interface RowQuery extends RangeQuery {
  /** Selects only rows whose label matches; undefined: rows with any label. */
  readonly labels?: LabelFilter | undefined;
  /** Selects only events whose data matches all of these filters. */
  readonly properties?: readonly PropertyFilter[] | undefined;
}

/** Parameters of every query over a series. */
export interface Query extends RowQuery {
  /** The metric name or event type. */
  readonly name: string;
}

/** Parameters that split a range into buckets. */
export interface Bucketing {
  /** Length of a bucket; undefined: one bucket for the whole range. */
  readonly interval: Interval | undefined;
  /** IANA name of the time zone whose calendar the buckets follow. */
  readonly zone: string;
}

/** A query over a series with results per bucket. */
export interface BucketQuery extends Query, Bucketing {
  /** Number of most frequent values that get their own group; undefined: the result is not grouped. */
  readonly top: number | undefined;
  /** For events: the property whose values are the groups. undefined: the labels are. */
  readonly groupBy?: Property | undefined;
  /** For events: the property to sum. */
  readonly sum?: Property | undefined;
}

/** A property of event data, as a query names it. */
export interface Property {
  /** The path as sent: the name of the groups in the result. */
  readonly name: string;
  readonly path: PropertyPath;
}

/** The resolved range of a query. */
export interface Range {
  readonly from: number;
  readonly to: number;
  /** Extent of all rows visible to the query; undefined if there are none, or the query specified both ends. */
  readonly extent: Extent | undefined;
}

/** A chunk, or a part of one, that may contain selected rows. */
export interface SelectedChunk extends Chunk {
  readonly series: Series;
  /** By row: 1 if its data matches the property filters. undefined: every row does. */
  readonly dataMask: Uint8Array | undefined;
  /** The columns of the properties that the query reads, in the order requested from {@link select}. */
  readonly columns: readonly PropertyColumn[];
}

/** The rows of a query, ready to be scanned. */
export interface Selection extends Range {
  /** Scans the chunks that may contain selected rows: series by series, each in commit order. */
  readonly chunks: () => Generator<SelectedChunk>;
  /** The number of the user whose rows are selected; -1: all users. */
  readonly user: number;
  /** By label number: 1 if rows with the label are selected. undefined: rows with any label. */
  readonly labelMask: Uint8Array | undefined;
}

/**
 * Resolves the range of a query.
 *
 * @param readExtent returns the extent of all rows visible to the query; called only if the query leaves an end open
 */
export function resolveRange(query: RangeQuery, readExtent: () => Extent | undefined): Range {
  const extent = query.from === undefined || query.to === undefined ? readExtent() : undefined;
  const from = query.from ?? Math.min(extent?.minTime ?? query.to ?? 0, query.to ?? Number.POSITIVE_INFINITY);
  const to = query.to ?? (extent ? Math.max(extent.maxTime + 1, from) : from);
  return { from, to, extent };
}

/** Returns the number of the user whose rows are selected; -1: all users. Undefined if the user has no rows. */
export function userOf(store: RowStore, { user }: Pick<RangeQuery, 'user'>): number | undefined {
  return user === undefined ? -1 : store.user(user);
}

/**
 * Selects the rows of a query in several series. The selection is empty if the query's user has no rows.
 *
 * @param seriesList the series, each once
 */
export function select(
  store: RowStore,
  seriesList: readonly Series[],
  query: RowQuery,
  budget: Budget,
  paths: readonly PropertyPath[] = [],
): Selection {
  const user = userOf(store, query);
  const source = sourceOf(store, user, seriesList, query, budget);
  const readData = createDataReader(store, query.properties ?? [], paths, user ?? -1, seriesList.length, budget);
  const readExtent = () => {
    if (user === undefined) return undefined;
    const extents = seriesList.map((series) => {
      budget.check();
      return user < 0 ? store.extent(series) : extentOfUser(source, series, user, ALL_TIME, budget);
    });
    return extentOfAll(extents);
  };
  const range = resolveRange(query, readExtent);
  // if an end was open, the extent is known, and chunks outside it contain no selected rows
  const from = Math.max(range.from, range.extent?.minTime ?? range.from);
  const to = Math.min(range.to, range.extent ? range.extent.maxTime + 1 : range.to);
  return {
    ...range,
    user: user ?? -1,
    labelMask: query.labels && labelMaskOf(store, seriesList, query.labels, budget),
    *chunks() {
      if (user === undefined || to <= from) return;
      for (const series of seriesList) {
        for (const outline of source.outlines(series, from, to)) {
          budget.check();
          yield* readData(series, outline, from, to);
        }
      }
    },
  };
}

/** Maximum number of series times properties of a query that stores columns: the others would be dropped for them. */
const MAX_STORED_PROPERTIES = 16;

/** Creates the function that reads a chunk with the properties that a query filters by or returns. */
function createDataReader(
  store: RowStore,
  filters: readonly PropertyFilter[],
  paths: readonly PropertyPath[],
  user: number,
  seriesCount: number,
  budget: Budget,
) {
  const tests = filters.map((filter) => {
    const matches = createPropertyTest(filter);
    const areMatches = perColumn(
      (size) => new Uint8Array(size),
      (value) => (matches(value) ? 1 : 0),
      budget,
    );
    return { key: JSON.stringify(filter.path), areMatches };
  });
  const allPaths = new Map([...filters.map(({ path }) => path), ...paths].map((path) => [JSON.stringify(path), path]));
  const keys = [...allPaths.keys()];
  const isStored = seriesCount * keys.length <= MAX_STORED_PROPERTIES;
  const check = () => {
    try {
      budget.check();
    } catch (error) {
      if (user >= 0 || !(error instanceof QueryTooLargeError)) throw error;
      const hint = isStored ? 'retry later, when it may have columns, or narrow the range' : 'narrow the range';
      throw new QueryTooLargeError(`${error.message} while a property was read from the rows: ${hint}`);
    }
  };
  return function* (series: Series, outline: ChunkOutline, from: number, to: number): Generator<SelectedChunk> {
    const chunk = outline.read();
    if (keys.length === 0) {
      yield { ...chunk, series, dataMask: undefined, columns: [] };
      return;
    }
    const { users, times } = chunk;
    const isWanted = (row: number) =>
      users[row] === user && (times[row] as number) >= from && (times[row] as number) < to;
    const request = { paths: [...allPaths.values()], isWanted: user < 0 ? undefined : isWanted, isStored, check };
    const { chunkId, memtablePart } = outline;
    const parts = store.readProperties({ series, chunkId, memtablePart, chunk }, request);
    for (const { chunk: part, columns } of parts) {
      const columnOf = (key: string) => columns[keys.indexOf(key)] as PropertyColumn; // one per path
      const dataMask = tests.length === 0 ? undefined : new Uint8Array(part.rows).fill(1);
      for (const { key, areMatches } of tests) {
        const column = columnOf(key);
        applyFilter(column.codes, areMatches(column), dataMask as Uint8Array);
      }
      yield { ...part, series, dataMask, columns: paths.map((path) => columnOf(JSON.stringify(path))) };
    }
  };
}

/** Clears the mask of the rows whose value does not match. */
function applyFilter(codes: PropertyColumn['codes'], areMatches: Uint8Array, mask: Uint8Array): void {
  for (let row = 0; row < mask.length; row++) (mask[row] as number) &= areMatches[codes[row] as number] as number;
}

/** Returns a series as a list; empty if the name was never recorded. */
export function seriesNamed(store: RowStore, kind: Kind, name: string): Series[] {
  const series = store.find(kind, name);
  return series ? [series] : [];
}

/**
 * Returns which labels of the series match a filter, by label number. Reads all label texts only for `containsAny`
 * without `anyOf`; otherwise, looks up the filter's values.
 */
function labelMaskOf(store: RowStore, seriesList: readonly Series[], filter: LabelFilter, budget: Budget): Uint8Array {
  budget.reserve(store.labelLimit);
  const mask = new Uint8Array(store.labelLimit);
  const { anyOf, noneOf, containsAny } = filter;
  const isExcluding = anyOf.length === 0 && containsAny.length === 0;
  if (isExcluding) mask.fill(1);
  const listed = isExcluding ? noneOf : anyOf.filter((text) => matchesLabel(text, filter));
  for (const series of seriesList) {
    budget.check();
    if (isExcluding || anyOf.length > 0) {
      for (const text of listed) {
        const number = store.label(series, text);
        if (number !== undefined) mask[number] = isExcluding ? 0 : 1;
      }
      continue;
    }
    let labels = 0;
    for (const { number, text } of store.labelsOf(series)) {
      if (labels++ % 1024 === 0) budget.check();
      if (matchesLabel(text, filter)) mask[number] = 1;
    }
  }
  return mask;
}

const ALL_TIME = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

/** Returns the extent of a user's rows in a series and range; undefined if there are none. */
function extentOfUser(
  source: ChunkSource,
  series: Series,
  user: number,
  { from, to }: Pick<Range, 'from' | 'to'>,
  budget: Budget,
): Extent | undefined {
  let rows = 0;
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (const outline of source.outlines(series, from, to)) {
    budget.check();
    const { users, times } = outline.read();
    for (let i = 0; i < users.length; i++) {
      const time = times[i] as number;
      if (users[i] !== user || time < from || time >= to) continue;
      rows++;
      if (time < minTime) minTime = time;
      if (time > maxTime) maxTime = time;
    }
  }
  return rows === 0 ? undefined : { rows, minTime, maxTime };
}

/**
 * Returns every series of a kind with rows visible to the query, and the extent of those rows. For a single user and a
 * range with both ends, considers only the rows in the range, so that chunks outside it are not read.
 *
 * @param user as returned by {@link userOf}
 */
export function extentsOf(
  store: ColumnStore,
  kind: Kind,
  user: number | undefined,
  { from, to }: Pick<RangeQuery, 'from' | 'to'>,
  budget: Budget,
): SeriesExtent[] {
  if (user === undefined) return [];
  if (user < 0) return store.extents(kind).map((entry) => ({ ...entry, source: store }));
  const range = from === undefined || to === undefined ? ALL_TIME : { from, to };
  const seriesList = store.seriesWith(kind, user);
  const source = sourceOf(store, user, seriesList, range, budget);
  return seriesList.flatMap((series) => {
    const extent = extentOfUser(source, series, user, range, budget);
    return extent ? [{ series, extent, source }] : [];
  });
}

/** A series, and the extent of its rows that are visible to a query. */
export interface SeriesExtent {
  readonly series: Series;
  readonly extent: Extent;
  /** Contains these rows. */
  readonly source: ChunkSource;
}

/**
 * Returns what contains the rows of some series that are visible to a query: for a user with few rows, only those, read by
 * their keys; otherwise the column store. A query must use one source for all its scans.
 *
 * @param user as returned by {@link userOf}
 */
function sourceOf(
  store: RowStore,
  user: number | undefined,
  seriesList: readonly Series[],
  range: Pick<RangeQuery, 'from' | 'to'>,
  budget: Budget,
): ChunkSource {
  const [first] = seriesList;
  if (user === undefined || user < 0 || !first) return store;
  return store.sourceOfUser(first.kind, user, seriesList, range, budget) ?? store;
}

/** Formats a range. An end is null if the query did not specify it and there is no row to derive it from. */
export function rangeOf({ from, to, extent }: Range, query: RangeQuery, zone: string) {
  const isKnown = (end: number | undefined) => end !== undefined || extent !== undefined;
  return {
    from: isKnown(query.from) ? formatInZone(from, zone) : null,
    to: isKnown(query.to) ? formatInZone(to, zone) : null,
    tz: zone,
  };
}

/**
 * Splits a range into buckets: see {@link bucketEdges}.
 *
 * @throws {QueryTooLargeError} if there are more than {@link MAX_BUCKETS} buckets
 */
export function edgesOf({ from, to }: Range, { interval, zone }: Bucketing): Float64Array {
  const edges = bucketEdges(from, to, interval, zone);
  if (!edges) throw new QueryTooLargeError(`the range has more than ${MAX_BUCKETS} buckets`, 'interval');
  return edges;
}

/**
 * Returns the bucket of a time.
 *
 * @param edges at least two, ascending; the time must be in [first, last)
 * @param near the bucket of the previous row, which is checked first because rows are nearly in time order
 */
export function bucketOf(edges: Float64Array, time: number, near: number): number {
  if (time >= (edges[near] as number) && time < (edges[near + 1] as number)) return near;
  let low = 0;
  let high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((edges[middle] as number) <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}
