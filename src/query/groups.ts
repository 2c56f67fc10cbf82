import type { PropertyValue } from '../properties.ts';
import type { Kind } from '../records.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import type { Budget } from './budget.ts';
import { growInto, NumberIndex } from './number-index.ts';
import { PairIndex } from './pair-index.ts';
import { createNumbersByColumn } from './per-column.ts';
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

/** Returns a number for a row of a chunk, given its index. */
type RowNumber = (row: number) => number;

/** The values that have their own group; all other values share one. */
export interface Groups {
  /** The values with their own group, the most frequent first. */
  readonly values: readonly PropertyValue[];
  /** The number of other values. */
  readonly others: number;
  /** Returns the group of each selected row of a chunk; `values.length` for other values. */
  readonly groupOf: (chunk: SelectedChunk) => RowNumber;
}

/** Numbers that stand for the values that rows are grouped by. */
interface Keys {
  /** One more than the largest key; undefined if the keys are consecutive, in the order of their first selected rows. */
  readonly limit: number | undefined;
  /** Returns the key of each selected row of a chunk. */
  readonly keyOf: (chunk: SelectedChunk) => RowNumber;
  readonly valuesOf: (keys: readonly number[]) => PropertyValue[];
  /** Creates {@link Groups.groupOf} for these groups, given their keys. */
  readonly createGroupOf: (named: readonly number[]) => Groups['groupOf'];
}

/** Returns label numbers as keys. */
function labelKeys(store: ColumnStore, budget: Budget): Keys {
  return {
    limit: store.labelLimit,
    keyOf:
      ({ labels }) =>
      (row) =>
        labels[row] as number,
    valuesOf: (labels) => labels.map((label) => store.labelText(label)),
    createGroupOf(named) {
      const groups = new NumberIndex(store.labelLimit, budget);
      for (const label of named) groups.add(label);
      return ({ labels }) =>
        (row) => {
          const group = groups.find(labels[row] as number);
          return group < 0 ? named.length : group;
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
function valueKeys(store: ColumnStore, budget: Budget): Keys {
  const index = new PairIndex(budget);
  /** The values by key, or the place from which they can be decoded. */
  const places: (PropertyValue | { readonly source: number; readonly code: number })[] = [];
  const sources: (() => readonly PropertyValue[])[] = [];
  const sourceOf = new Map<PropertyColumn['id'], number>();
  // the key plus one by code; 0: not looked up yet
  const keysByCode = createNumbersByColumn((size) => new Uint32Array(size), budget);

  const keyOf: Keys['keyOf'] = ({ columns: [first] }) => {
    const column = first as PropertyColumn; // requested by groupSelection
    const { codes, hashes } = column;
    const { of: known } = keysByCode(column);
    let distinct: readonly PropertyValue[] | undefined;
    /** Returns the key of a code with hashes. */
    const keyOfHashes = (code: number): number => {
      const key = index.add(hashes?.[2 * code] as number, hashes?.[2 * code + 1] as number);
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
    const keyOfValue = (code: number): number => {
      distinct ??= column.values;
      const value = distinct[code] as PropertyValue;
      const key = index.add(...store.valueHashes(value));
      if (key < places.length) return key;
      budget.reserve(VALUE_BYTES + (typeof value === 'string' ? 2 * value.length : 0));
      places.push(value);
      return key;
    };
    return (row) => {
      const code = codes[row] as number;
      if (known[code] === 0) known[code] = 1 + (hashes ? keyOfHashes(code) : keyOfValue(code));
      return (known[code] as number) - 1;
    };
  };

  return {
    limit: undefined,
    keyOf,
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
    createGroupOf(named) {
      const groups = new Uint32Array(places.length).fill(named.length);
      named.forEach((key, group) => {
        groups[key] = group;
      });
      return (chunk) => {
        const keyOfRow = keyOf(chunk);
        return (row) => groups[keyOfRow(row)] ?? named.length;
      };
    },
  };
}

/**
 * Finds the most frequent values of a selection. Equally frequent values are sorted by their first row in commit order.
 */
function topValues(selection: Selection, keys: Keys, top: number, budget: Budget): Groups {
  const { limit, keyOf, valuesOf, createGroupOf } = keys;
  // indices in the order of their first rows
  const present = limit === undefined ? undefined : new NumberIndex(limit, budget);
  let size = 0;
  let counts = new Float64Array(64);
  const { from, to, user, labelMask } = selection;
  for (const chunk of selection.chunks()) {
    const { times, users, labels, dataMask } = chunk;
    const keyOfRow = keyOf(chunk);
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      if (time < from || time >= to || (user >= 0 && users[i] !== user) || dataMask?.[i] === 0) continue;
      if (labelMask && labelMask[labels[i] as number] === 0) continue;
      const key = keyOfRow(i);
      const index = present ? present.add(key) : key;
      if (index >= size) size = index + 1;
      if (index === counts.length) {
        budget.reserve(8 * index);
        counts = growInto(counts, new Float64Array(2 * index));
      }
      (counts[index] as number)++;
    }
  }
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
    groupOf: createGroupOf(named),
  };
}

/** The only group of a result that is not grouped. */
const ONE_GROUP: Groups = { values: [], others: 0, groupOf: () => () => 0 };

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
  store: ColumnStore,
  kind: Kind,
  query: BucketQuery,
  bucketBytes: number,
  budget: Budget,
): GroupedSelection {
  const { groupBy, sum, top } = query;
  const paths = [...(groupBy ? [groupBy.path] : []), ...(sum ? [sum.path] : [])];
  const selection = select(store, seriesNamed(store, kind, query.name), query, budget, paths);
  const { from, to, user, labelMask } = selection;
  const edges = edgesOf(selection, query);
  const buckets = Math.max(0, edges.length - 1);
  budget.checkResult(buckets * bucketBytes);
  const isGrouped = top !== undefined;
  const keys = groupBy ? valueKeys(store, budget) : labelKeys(store, budget);
  const groups = isGrouped ? topValues(selection, keys, top, budget) : ONE_GROUP;
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
      const { times, users, labels, dataMask } = chunk;
      const slots = new Int32Array(times.length);
      const groupOfRow = isGrouped ? groups.groupOf(chunk) : undefined;
      let bucket = 0;
      for (let i = 0; i < times.length; i++) {
        const time = times[i] as number;
        const isSelected =
          time >= from &&
          time < to &&
          (user < 0 || users[i] === user) &&
          (labelMask === undefined || labelMask[labels[i] as number] === 1) &&
          dataMask?.[i] !== 0;
        if (!isSelected) slots[i] = -1;
        else {
          bucket = bucketOf(edges, time, bucket);
          slots[i] = groupOfRow ? groupOfRow(i) * buckets + bucket : bucket;
        }
      }
      return slots;
    },
  };
}
