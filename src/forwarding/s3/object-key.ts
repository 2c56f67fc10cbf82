import { KINDS, type Kind } from '../../records.ts';
import { millisecondOf } from '../../storage/record-id.ts';

/*
 * The names of the objects: PREFIX/kind=metric/day=2026-01-31/NODE-FIRST-LAST.parquet. FIRST and LAST are the `seq` of
 * the first and the last row. The day is that of the rows' IDs in UTC, so the ranges of different days never overlap.
 */

/** Digits of a `seq`, so that names sort like ranges. */
const SEQ_DIGITS = 16;
const KEY = /(?:^|\/)kind=(\w+)\/day=(\d{4}-\d\d-\d\d)\/([\w-]+)-(\d{16})-(\d{16})\.parquet$/;

/** The rows that an object may contain: those of a node with a `seq` from `first` to `last`. */
export interface ObjectRange {
  readonly kind: Kind;
  readonly node: string;
  readonly first: number;
  readonly last: number;
}

/** Returns the UTC day of a `seq`, such as 2026-01-31. */
export function dayOf(seq: number): string {
  return new Date(millisecondOf(seq)).toISOString().slice(0, 10);
}

/** Returns the common start of the keys of a node's objects of one day. */
export function dayPrefix(prefix: string, { kind, node, first }: Omit<ObjectRange, 'last'>): string {
  return `${prefix}kind=${kind}/day=${dayOf(first)}/${node}-`;
}

/** Returns the key of an object, all of whose rows are of one day. */
export function keyOf(prefix: string, range: ObjectRange): string {
  const [first, last] = [range.first, range.last].map((seq) => String(seq).padStart(SEQ_DIGITS, '0'));
  return `${dayPrefix(prefix, range)}${first}-${last}.parquet`;
}

/** Parses a key; undefined if it is not one of these. */
export function rangeOfKey(key: string): ObjectRange | undefined {
  const [, kindText, , node = '', first, last] = KEY.exec(key) ?? [];
  const kind = KINDS.find((known) => known === kindText);
  return kind && { kind, node, first: Number(first), last: Number(last) };
}
