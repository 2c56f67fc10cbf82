import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';
import type { ColumnStore } from './columns/column-store.ts';
import {
  hasMoreRows,
  type ReadLimits,
  type RecordFilter,
  type RecordRow,
  readKeys,
  readWindow,
  type ScanPosition,
  windowEnd,
} from './records.ts';

/** Rows looked up per read: a few milliseconds. */
const BATCH_ROWS = 1_000;
/** Rows in a range of keys, per row of the user, up to which the range is scanned: a lookup takes as long as 15 rows. */
const MAX_SCANNED_PER_ROW = 8;

/** Maximum number of rows of a user that are looked up. */
const MAX_LISTED_ROWS = 2 ** 20;

/** Reads the next rows that match a filter: see {@link readWindow}. */
export type RecordReader = (
  position: ScanPosition,
  limits: ReadLimits,
) => { rows: RecordRow[]; bytes: number; next: ScanPosition | undefined };

/**
 * Creates the function that reads the rows that match a filter, part by part. The rows of a single user are looked up by
 * the keys that the column store lists; those that it has not applied yet are scanned.
 *
 * @param direction `newest` first, or `oldest` first
 */
export function createRecordReader(
  { client, store }: { readonly client: Database; readonly store: ColumnStore },
  kind: Kind,
  filter: RecordFilter,
  direction: 'newest' | 'oldest',
): RecordReader {
  const scan: RecordReader = (position, limits) => readWindow(client, kind, filter, position, direction, limits);
  const { user: userId } = filter;
  if (userId === undefined) return scan;

  /** Reads listed rows; `next` is where to continue after them. */
  const readListed = (keys: readonly number[], next: ScanPosition | undefined, limits: ReadLimits) => {
    const [first, last] = [keys[0], keys[keys.length - 1]];
    if (first === undefined || last === undefined) return { rows: [], bytes: 0, next };
    const [low, high] = first < last ? [first, last] : [last, first];
    if (!hasMoreRows(client, kind, low, high, MAX_SCANNED_PER_ROW * keys.length)) {
      const outside = direction === 'newest' ? first + 1 : first - 1;
      const window = scan({ after: outside, end: last }, limits);
      return window.next?.end === undefined ? { ...window, next } : { ...window, next: { after: window.next.after } };
    }
    const { rows, bytes, stoppedAt } = readKeys(client, kind, filter, keys, limits);
    return { rows, bytes, next: stoppedAt === undefined ? next : { after: stoppedAt } };
  };

  let listed: { readonly version: unknown; readonly seqs: Float64Array | undefined } | undefined;
  /** Returns the keys of the user's applied rows; undefined if they are unknown, or so many that a scan is as fast. */
  const listRows = (): Float64Array | undefined => {
    const version = `${store.userRowsVersion} ${store.position(kind)}`;
    if (listed?.version === version) return listed.seqs;
    if (listed && !listed.seqs) return undefined;
    const user = store.user(userId);
    const seqs = user === undefined ? new Float64Array(0) : store.seqsOfUser(kind, user);
    listed = { version, seqs: seqs && seqs.length <= MAX_LISTED_ROWS ? seqs : undefined };
    return listed.seqs;
  };

  return ({ after, end }, limits) => {
    const seqs = listRows();
    if (!seqs || store.isRebuilding) return scan(end === undefined ? { after } : { after, end }, limits);
    const appliedTo = store.position(kind);
    if (direction === 'oldest') {
      if (after >= appliedTo) return scan(end === undefined ? { after } : { after, end }, limits);
      const start = firstAbove(seqs, after);
      const keys = Array.from(seqs.subarray(start, start + BATCH_ROWS));
      return readListed(
        keys,
        { after: start + keys.length < seqs.length ? (keys.at(-1) as number) : appliedTo },
        limits,
      );
    }
    if (after > appliedTo + 1) {
      const windowStart = end ?? windowEnd(client, kind, after, direction);
      if (windowStart === undefined) return { rows: [], bytes: 0, next: undefined };
      return scan({ after, end: Math.max(windowStart, appliedTo + 1) }, limits);
    }
    const stop = firstAbove(seqs, after - 1);
    const keys = Array.from(seqs.subarray(Math.max(0, stop - BATCH_ROWS), stop)).reverse();
    return readListed(keys, stop > BATCH_ROWS ? { after: keys.at(-1) as number } : undefined, limits);
  };
}

/** Returns the index of the first of some ascending numbers that is above another; their number if none is. */
function firstAbove(seqs: Float64Array, seq: number): number {
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((seqs[middle] as number) <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
