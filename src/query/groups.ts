import type { PropertyValue } from '../properties.ts';
import type { Kind } from '../records.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import type { Budget } from './budget.ts';
import { growInto, NumberIndex } from './number-index.ts';
import { PairIndex } from './pair-index.ts';
import { createNumbersByColumn } from './per-column.ts';
import type { RowStore } from './row-store.ts';
import {
  type BucketQuery,
  bucketOf,
  edgesOf,
  type SelectedChunk,
  type Selection,
  select,
  seriesNamed,
} from './selection.ts';
import { TopList } from './top-list.ts';

/** The values that have their own group; all other values share one. */
export interface GroupNames {
  /** The values with their own group, the most frequent first. */
  readonly values: readonly PropertyValue[];
  /** The number of other values. */
  readonly others: number;
}

/** The values that have their own group, and how rows are assigned to the groups. */
export interface Groups extends GroupNames {
  readonly addGroups: AddGroups;
}

/**
 * Adds the group of each selected row of a chunk, times `buckets`, to its slot. The group of other values is
 * `values.length`; the slots of rows that are not selected are negative.
 */
type AddGroups = (chunk: SelectedChunk, slots: Int32Array, buckets: number) => void;

/** Numbers that stand for the values that rows are grouped by. */
interface Keys {
  /** One more than the largest key; undefined if the keys are consecutive, in the order of their first selected rows. */
  readonly limit: number | undefined;
  /** Returns the key of each selected row of a chunk. The slots of the other rows are negative. */
  readonly keysOf: (chunk: SelectedChunk, slots: Int32Array) => Uint32Array;
  readonly valuesOf: (keys: readonly number[]) => PropertyValue[];
  /** Creates {@link Groups.addGroups} for these groups, given their keys. */
  readonly createAddGroups: (named: readonly number[]) => AddGroups;
}

/*
 * Loops over rows read arrays and call no function that is created per chunk: that would take twice as long.
 */

/** Returns label numbers as keys. */
function labelKeys(store: RowStore, budget: Budget): Keys {
  return {
    limit: store.labelLimit,
    keysOf: ({ labels }) => labels,
    valuesOf: (labels) => labels.map((label) => store.labelText(label)),
    createAddGroups(named) {
      const groups = new NumberIndex(store.labelLimit, budget);
      for (const label of named) groups.add(label);
      return ({ labels }, slots, buckets) => {
        for (let i = 0; i < slots.length; i++) {
          const slot = slots[i] as number;
          if (slot < 0) continue;
          const group = groups.find(labels[i] as number);
          slots[i] = slot + (group < 0 ? named.length : group) * buckets;
        }
      };
    },
  };
}

/** Estimated memory of a value that is kept, excluding its text, in bytes. */
const VALUE_BYTES = 64;

/**
 * Numbers the values of the first requested property, in the order in which they are found in selected rows. Values are
 * compared by their hashes. Those of columns with many values are decoded only if they are needed in the result.
 */
function valueKeys(store: RowStore, budget: Budget): Keys {
  const index = new PairIndex(budget);
  /** The values by key, or the place from which they can be decoded. */
  const places: (PropertyValue | { readonly source: number; readonly code: number })[] = [];
  const sources: (() => readonly PropertyValue[])[] = [];
  const sourceOf = new Map<PropertyColumn['id'], number>();
  // the key plus one by code; 0: not looked up yet
  const keysByCode = createNumbersByColumn((size) => new Uint32Array(size), budget);

  /** Returns the key of a value that is only known by its hashes. */
  const keyOfHashes = (column: PropertyColumn, hashes: Float64Array, code: number): number => {
    const key = index.add(hashes[2 * code] as number, hashes[2 * code + 1] as number);
    if (key < places.length) return key;
    let source = sourceOf.get(column.id);
    if (source === undefined) {
      budget.reserve(column.compressedBytes ?? 0);
      source = sources.push(column.detachValues?.() ?? (() => column.values)) - 1;
      sourceOf.set(column.id, source);
    }
    budget.reserve(VALUE_BYTES);
    places.push({ source, code });
    return key;
  };
  const keyOfValue = (value: PropertyValue): number => {
    const key = index.add(...store.valueHashes(value));
    if (key < places.length) return key;
    budget.reserve(VALUE_BYTES + (typeof value === 'string' ? 2 * value.length : 0));
    places.push(value);
    return key;
  };
  const keysOf: Keys['keysOf'] = ({ columns: [first] }, slots) => {
    const column = first as PropertyColumn; // requested by groupSelection
    const { codes, hashes } = column;
    const { of: known } = keysByCode(column);
    const keys = new Uint32Array(slots.length);
    let distinct: readonly PropertyValue[] | undefined;
    for (let row = 0; row < slots.length; row++) {
      if ((slots[row] as number) < 0) continue;
      const code = codes[row] as number;
      if (known[code] === 0) {
        if (!hashes) distinct ??= column.values;
        known[code] =
          1 + (hashes ? keyOfHashes(column, hashes, code) : keyOfValue((distinct as PropertyValue[])[code] ?? null));
      }
      keys[row] = (known[code] as number) - 1;
    }
    return keys;
  };

  return {
    limit: undefined,
    keysOf,
    valuesOf(keys) {
      const values = new Map<number, PropertyValue>();
      const bySource = new Map<number, number[]>();
      for (const key of keys) {
        const place = places[key];
        if (typeof place !== 'object' || place === null) values.set(key, place as PropertyValue);
        else bySource.set(place.source, [...(bySource.get(place.source) ?? []), key]);
      }
      for (const [source, keysOfSource] of bySource) {
        budget.check();
        const decoded = sources[source]?.() ?? [];
        for (const key of keysOfSource) {
          const { code } = places[key] as { readonly code: number };
          values.set(key, decoded[code] as PropertyValue);
        }
      }
      return keys.map((key) => values.get(key) as PropertyValue);
    },
    createAddGroups(named) {
      const groups = new Uint32Array(places.length).fill(named.length);
      named.forEach((key, group) => {
        groups[key] = group;
      });
      return (chunk, slots, buckets) => {
        const keys = keysOf(chunk, slots);
        for (let i = 0; i < slots.length; i++) {
          const slot = slots[i] as number;
          if (slot >= 0) slots[i] = slot + (groups[keys[i] as number] as number) * buckets;
        }
      };
    },
  };
}

/** The number of rows per key. */
class KeyCounts {
  readonly #present: NumberIndex | undefined;
  readonly #budget: Budget;
  /** By index. */
  counts = new Float64Array(64);
  size = 0;

  /** @param present maps keys to indices; undefined if keys are indices */
  constructor(present: NumberIndex | undefined, budget: Budget) {
    this.#present = present;
    this.#budget = budget;
  }

  /** Counts the rows of a chunk whose slots are not negative. */
  add(slots: Int32Array, keys: Uint32Array): void {
    const present = this.#present;
    let { counts, size } = this;
    for (let i = 0; i < slots.length; i++) {
      if ((slots[i] as number) < 0) continue;
      const key = keys[i] as number;
      const index = present ? present.add(key) : key;
      if (index >= size) size = index + 1;
      if (index === counts.length) {
        this.#budget.reserve(8 * index);
        counts = growInto(counts, new Float64Array(2 * index));
      }
      (counts[index] as number)++;
    }
    this.counts = counts;
    this.size = size;
  }
}

/**
 * Finds the most frequent values of a selection. Equally frequent values are sorted by their first row in commit order.
 */
function topValues(selection: Selection, edges: Float64Array, keys: Keys, top: number, budget: Budget): Groups {
  const { limit, keysOf, valuesOf, createAddGroups } = keys;
  // indices in the order of their first rows
  const present = limit === undefined ? undefined : new NumberIndex(limit, budget);
  const counted = new KeyCounts(present, budget);
  for (const chunk of selection.chunks()) {
    const slots = bucketsOf(selection, edges, chunk);
    counted.add(slots, keysOf(chunk, slots));
  }
  const { counts, size } = counted;
  // break ties by index, since a rebuild changes label numbers
  const best = new TopList<number>(top, (a, b) => (counts[b] as number) - (counts[a] as number) || a - b);
  for (let index = 0; index < size; index++) {
    if (index % 4096 === 0) budget.check();
    best.add(index);
  }
  const named = best.sorted().map((index) => present?.at(index) ?? index);
  budget.reserve(-8 * counts.length);
  return {
    values: valuesOf(named),
    others: size - named.length,
    addGroups: createAddGroups(named),
  };
}

/** The only group of a result that is not grouped. */
const ONE_GROUP: Groups = { values: [], others: 0, addGroups: () => {} };

/** A selection whose rows are assigned to slots. A slot is a bucket of a group. */
export interface GroupedSelection extends Selection {
  /** The starts of the buckets, followed by the end of the last bucket. */
  readonly edges: Float64Array;
  readonly buckets: number;
  readonly groups: Groups;
  /** The number of groups, including the group of other values. */
  readonly groupCount: number;
  /** Returns the slot of each row of a chunk, which is group × buckets + bucket; -1 for rows that are not selected. */
  readonly slotsOf: (chunk: SelectedChunk) => Int32Array;
}

/**
 * Selects the rows of a query, and assigns them to buckets and groups.
 *
 * @param bucketBytes minimum length of a bucket in the result
 * @throws {QueryTooLargeError} if the buckets and groups alone exceed the result limit
 */
export function groupSelection(
  store: RowStore,
  kind: Kind,
  query: BucketQuery,
  bucketBytes: number,
  budget: Budget,
): GroupedSelection {
  const { groupBy, sum, top } = query;
  const paths = [...(groupBy ? [groupBy.path] : []), ...(sum ? [sum.path] : [])];
  const selection = select(store, seriesNamed(store, kind, query.name), query, budget, paths);
  const edges = edgesOf(selection, query);
  const buckets = Math.max(0, edges.length - 1);
  budget.checkResult(buckets * bucketBytes);
  const isGrouped = top !== undefined;
  const keys = groupBy ? valueKeys(store, budget) : labelKeys(store, budget);
  const groups = isGrouped ? topValues(selection, edges, keys, top, budget) : ONE_GROUP;
  const groupCount = groups.values.length + 1;
  const textBytes = groups.values.reduce<number>((bytes, value) => bytes + String(value).length, 0);
  budget.checkResult((isGrouped ? groupCount + 1 : 1) * buckets * bucketBytes + textBytes);
  return {
    ...selection,
    edges,
    buckets,
    groups,
    groupCount,
    slotsOf(chunk) {
      const slots = bucketsOf(selection, edges, chunk);
      groups.addGroups(chunk, slots, buckets);
      return slots;
    },
  };
}

/** Returns the bucket of each row of a chunk; -1 for rows that are not selected. */
function bucketsOf({ from, to, user, labelMask }: Selection, edges: Float64Array, chunk: SelectedChunk): Int32Array {
  const { times, users, labels, dataMask, minTime, maxTime } = chunk;
  const isWhole =
    minTime >= from &&
    maxTime < to &&
    user < 0 &&
    labelMask === undefined &&
    dataMask === undefined &&
    edges.length >= 2;
  if (isWhole) {
    const bucket = bucketOf(edges, minTime, 0);
    return maxTime < (edges[bucket + 1] as number)
      ? new Int32Array(times.length).fill(bucket)
      : bucketsOfTimes(times, edges);
  }
  const buckets = new Int32Array(times.length);
  let bucket = 0;
  for (let i = 0; i < times.length; i++) {
    const time = times[i] as number;
    const isSelected =
      time >= from &&
      time < to &&
      (user < 0 || users[i] === user) &&
      (labelMask === undefined || labelMask[labels[i] as number] === 1) &&
      (dataMask === undefined || dataMask[i] === 1);
    if (isSelected) bucket = bucketOf(edges, time, bucket);
    buckets[i] = isSelected ? bucket : -1;
  }
  return buckets;
}

/** Returns the bucket of each time, all of which are in the range of the buckets. */
function bucketsOfTimes(times: Float64Array, edges: Float64Array): Int32Array {
  const buckets = new Int32Array(times.length);
  let bucket = 0;
  let start = edges[0] as number;
  let end = edges[1] as number;
  for (let i = 0; i < times.length; i++) {
    const time = times[i] as number;
    // rows are nearly in time order
    if (time < start || time >= end) {
      bucket = bucketOf(edges, time, bucket);
      start = edges[bucket] as number;
      end = edges[bucket + 1] as number;
    }
    buckets[i] = bucket;
  }
  return buckets;
}
