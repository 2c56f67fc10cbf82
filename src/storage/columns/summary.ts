import { checksumOfBlobs, isChecksumOf } from './checksum.ts';
import { aligned, bytesOf, type Chunk } from './chunk.ts';
import { sumInThreeParts } from './exact-sum.ts';

/*
 * Summaries of sealed chunks: what most charts need, so that they do not read every row.
 *
 *   quarters   number of rows per quarter hour: int32 quarter hour since 1970 each | uint32 rows each
 *   hours      three doubles each that add up to the exact sum | int32 hour since 1970 each | uint32 end in `sorted` each
 *   sorted     the values by hour, ascending within each hour: float64 each. NaN, at the end of an hour, stands for a removed
 *              value: those of other hours keep their place, so that SQLite writes only the pages that differ. Then zeros, for a
 *              length that moves no other summary (local-part.ts)
 *
 * Time zones differ from UTC by multiples of a quarter hour, most of them by full hours. A part is empty if it would save
 * little, because the rows are sparse.
 */

/** Length of a quarter hour and of an hour, in microseconds. */
export const QUARTER_US = 900e6;
export const HOUR_US = 3600e6;

/** Minimum average number of rows per quarter hour and per hour for which a chunk has that part. */
const MIN_ROWS_PER_QUARTER = 4;
const MIN_ROWS_PER_HOUR = 8;
/** Longest time between the first and the last row of a chunk that has a summary: 7 years of quarter hours. */
const MAX_SLOTS = 2 ** 18;

/** The number of rows of a chunk in each quarter hour that has any, ascending. */
export interface Quarters {
  /** Quarter hours since 1970. */
  readonly numbers: Int32Array;
  readonly rows: Uint32Array;
}

/** The values of a chunk by hour, ascending. */
export interface Hours {
  /** Hours since 1970. */
  readonly numbers: Int32Array;
  /** Where each hour's values start and end in `sorted`. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** Three doubles per hour that add up to the exact sum of its values; NaN if they do not suffice. */
  readonly sums: Float64Array;
  /** The values, ascending within each hour, perhaps with NaN between two hours. */
  readonly sorted: Float64Array;
}

/** A summary as stored blobs, with their checksums. */
export interface SummaryBlobs {
  readonly quarters: Uint8Array;
  readonly quartersChecksum: number;
  readonly hours: Uint8Array;
  readonly sorted: Uint8Array;
  /** Checksum of `hours` and `sorted`. */
  readonly checksum: number;
}

const NO_BYTES = new Uint8Array(0);
/** Rows per slot of time; all 0 between calls of {@link countBySlot}. */
const counts = new Uint32Array(MAX_SLOTS);

/** Returns the rows of a chunk per quarter hour; undefined if they are too sparse. */
export function quartersOf(chunk: Chunk): Quarters | undefined {
  return countBySlot(chunk, QUARTER_US, MIN_ROWS_PER_QUARTER);
}

/** Returns the values of a chunk by hour; undefined if they are too sparse, and for events. */
export function hoursOf(chunk: Chunk): Hours | undefined {
  const counted = chunk.values.length > 0 ? countBySlot(chunk, HOUR_US, MIN_ROWS_PER_HOUR) : undefined;
  return counted && sumByHour(counted, sortBySlot(chunk, counted));
}

/** Encodes the summary of a chunk; undefined if it has none. */
export function summarize(chunk: Chunk): SummaryBlobs | undefined {
  const quarters = quartersOf(chunk);
  const hours = hoursOf(chunk);
  if (!quarters && !hours) return undefined;
  const quarterBytes = quarters ? encodeQuarters(quarters) : NO_BYTES;
  const hourBytes = hours ? encodeHours(hours) : NO_BYTES;
  const sorted = hours ? bytesOf(hours.sorted) : NO_BYTES;
  return {
    quarters: quarterBytes,
    quartersChecksum: checksumOfBlobs([quarterBytes]),
    hours: hourBytes,
    sorted,
    checksum: checksumOfBlobs([hourBytes, sorted]),
  };
}

/** A summary without any part, for a chunk that was blanked or became sparse. */
export const NO_SUMMARY: SummaryBlobs = {
  quarters: NO_BYTES,
  quartersChecksum: checksumOfBlobs([NO_BYTES]),
  hours: NO_BYTES,
  sorted: NO_BYTES,
  checksum: checksumOfBlobs([NO_BYTES, NO_BYTES]),
};

/**
 * Returns a summary that can replace a stored one in place. A part that is longer than the stored one becomes empty, because
 * SQLite would move other rows, and `sorted` is padded to its length, so that SQLite writes only the pages that differ.
 */
export function fitSummary(
  summary: SummaryBlobs,
  stored: Pick<SummaryBlobs, 'quarters' | 'hours' | 'sorted'>,
): SummaryBlobs {
  const isShorter = (part: 'quarters' | 'hours' | 'sorted') => summary[part].byteLength <= stored[part].byteLength;
  const { quarters, quartersChecksum } = isShorter('quarters') ? summary : NO_SUMMARY;
  const { hours, sorted, checksum } =
    isShorter('hours') && isShorter('sorted') ? padSummary(summary, stored.sorted.byteLength) : NO_SUMMARY;
  return { quarters, quartersChecksum, hours, sorted, checksum };
}

/** Returns a summary with zeros appended to `sorted`. */
export function appendZeros(summary: SummaryBlobs, bytes: number): SummaryBlobs {
  const sorted = new Uint8Array(summary.sorted.byteLength + bytes);
  sorted.set(summary.sorted);
  return { ...summary, sorted, checksum: checksumOfBlobs([summary.hours, sorted]) };
}

/** Returns a summary whose `sorted` has a length in bytes, if it is shorter, by appending zeros. */
function padSummary(summary: SummaryBlobs, sortedBytes: number): SummaryBlobs {
  if (summary.sorted.byteLength === 0 || summary.sorted.byteLength >= sortedBytes) return summary;
  return appendZeros(summary, sortedBytes - summary.sorted.byteLength);
}

/** Number of rows that are removed one by one, in at most 30 µs each. */
const MAX_REMOVED_ROWS = 32;

/** Rows that are removed from a chunk. */
export interface RemovedRows {
  readonly times: readonly number[];
  /** Empty for events. */
  readonly values: readonly number[];
}

/**
 * Removes a few rows from a stored summary, which takes less time than summarizing the chunk again. Returns undefined for
 * many rows, and if a part or one of its hours or quarter hours could appear or disappear: then use {@link summarize}.
 *
 * @param blobs the summary of the chunk with the rows, padded or not. Its bytes are overwritten
 * @param rows the number of rows that the chunk has without them
 */
export function removeFromSummary(
  blobs: SummaryBlobs,
  { times, values }: RemovedRows,
  rows: number,
): SummaryBlobs | undefined {
  if (times.length > MAX_REMOVED_ROWS) return undefined;
  // copied if they are not aligned: the views below share their bytes
  const quarterBytes = new Uint8Array(aligned(blobs.quarters));
  const quarters = decodeQuarters(quarterBytes);
  if (!quarters || rows < MIN_ROWS_PER_QUARTER * quarters.numbers.length) return undefined;
  for (const time of times) if (!removeQuarter(quarters, time)) return undefined;
  const changed = { ...blobs, quarters: quarterBytes, quartersChecksum: checksumOfBlobs([quarterBytes]) };
  if (values.length === 0) return changed;
  const hourBytes = new Uint8Array(aligned(blobs.hours));
  const sortedBytes = new Uint8Array(aligned(blobs.sorted));
  const hours = decodeHours(hourBytes, sortedBytes);
  if (!hours || rows < MIN_ROWS_PER_HOUR * hours.numbers.length) return undefined;
  for (const [i, value] of values.entries()) if (!removeValue(hours, times[i] as number, value)) return undefined;
  return { ...changed, hours: hourBytes, sorted: sortedBytes, checksum: checksumOfBlobs([hourBytes, sortedBytes]) };
}

/** Removes a row from the count of its quarter hour. Returns false if it is the last one. */
function removeQuarter({ numbers, rows }: Quarters, time: number): boolean {
  const at = numbers.indexOf(Math.floor(time / QUARTER_US));
  if (at < 0 || rows[at] === 1) return false;
  (rows[at] as number)--;
  return true;
}

/** Removes a value from its hour, and leaves NaN at the hour's end. Returns false if it is the last one. */
function removeValue({ numbers, starts, ends, sums, sorted }: Hours, time: number, value: number): boolean {
  const hour = numbers.indexOf(Math.floor(time / HOUR_US));
  if (hour < 0) return false;
  const start = starts[hour] as number;
  const end = ends[hour] as number;
  let at = start;
  while (at < end && !Object.is(sorted[at], value)) at++;
  if (at >= end || end - start === 1) return false;
  sorted.copyWithin(at, at + 1, end);
  sorted[end - 1] = Number.NaN;
  ends[hour] = end - 1;
  sums.set(sumInThreeParts(sorted, start, end - 1) ?? [Number.NaN, Number.NaN, Number.NaN], 3 * hour);
  return true;
}

/** Returns whether a stored summary and its checksums are those of a chunk, as {@link fitSummary} returns them. */
export function isSummaryOf(chunk: Chunk, stored: SummaryBlobs): boolean {
  const { quarters, hours, sorted } = stored;
  return (
    isChecksumOf(stored.checksum, [hours, sorted]) &&
    isChecksumOf(stored.quartersChecksum, [quarters]) &&
    (quarters.byteLength === 0 || areEqual(quarters, summarize(chunk)?.quarters ?? NO_BYTES)) &&
    (hours.byteLength === 0 ? sorted.every((byte) => byte === 0) : areHoursOf(chunk, stored))
  );
}

/** Returns whether stored values by hour are those of a chunk, with nothing but NaN and zeros where values were removed. */
function areHoursOf(chunk: Chunk, stored: Pick<SummaryBlobs, 'hours' | 'sorted'>): boolean {
  const expected = hoursOf(chunk);
  if (expected?.numbers.length !== stored.hours.byteLength / 32) return false;
  const ends = endsIn(stored.hours);
  const sorted = new Float64Array(stored.sorted.byteLength / 8);
  for (let h = 0, start = 0; h < ends.length; h++) {
    const end = ends[h] as number;
    const values = expected.sorted.subarray(expected.starts[h], expected.ends[h]);
    if (values.length > end - start || end > sorted.length) return false;
    sorted.fill(Number.NaN, start + values.length, end).set(values, start);
    start = end;
  }
  return areEqual(stored.hours, encodeHours({ ...expected, ends })) && areEqual(stored.sorted, bytesOf(sorted));
}

function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** Decodes the first part of a summary; undefined if it is empty. */
export function decodeQuarters(bytes: Uint8Array): Quarters | undefined {
  const length = bytes.byteLength / 8;
  if (length === 0) return undefined;
  const buffer = aligned(bytes);
  return { numbers: new Int32Array(buffer, 0, length), rows: new Uint32Array(buffer, 4 * length, length) };
}

/** Decodes the other parts of a summary; undefined if they are empty. */
export function decodeHours(hours: Uint8Array, sorted: Uint8Array): Hours | undefined {
  const length = hours.byteLength / 32;
  if (length === 0) return undefined;
  const buffer = aligned(hours);
  const stored = endsIn(hours);
  const values = new Float64Array(aligned(sorted)).subarray(0, stored[length - 1]);
  const starts = new Uint32Array(length);
  const ends = new Uint32Array(length);
  for (let h = 0, start = 0; h < length; h++) {
    let end = stored[h] as number;
    while (end > start && Number.isNaN(values[end - 1])) end--;
    starts[h] = start;
    ends[h] = end;
    start = stored[h] as number;
  }
  return {
    sums: new Float64Array(buffer, 0, 3 * length),
    numbers: new Int32Array(buffer, 24 * length, length),
    starts,
    ends,
    sorted: values,
  };
}

/** Returns where the values of each hour end in `sorted`, with the removed ones. */
function endsIn(hours: Uint8Array): Uint32Array {
  const length = hours.byteLength / 32;
  return new Uint32Array(aligned(hours), 28 * length, length);
}

/** Counts the rows per slot of time; undefined if there are fewer rows per slot than `minRows`. */
function countBySlot({ times, rows, minTime, maxTime }: Chunk, slotUs: number, minRows: number): Quarters | undefined {
  const first = Math.floor(minTime / slotUs);
  const length = Math.floor(maxTime / slotUs) - first + 1;
  if (length > MAX_SLOTS) return undefined;
  const slotOf = (row: number) => Math.floor((times[row] as number) / slotUs) - first;
  let used = 0;
  for (let row = 0; row < rows; row++) {
    const slot = slotOf(row);
    if (counts[slot] === 0) used++;
    (counts[slot] as number)++;
    if (rows >= minRows * used) continue;
    for (let counted = 0; counted <= row; counted++) counts[slotOf(counted)] = 0;
    return undefined;
  }
  const found = { numbers: new Int32Array(used), rows: new Uint32Array(used) };
  for (let slot = 0, at = 0; slot < length; slot++) {
    if (counts[slot] === 0) continue;
    found.numbers[at] = first + slot;
    found.rows[at++] = counts[slot] as number;
  }
  counts.fill(0, 0, length);
  return found;
}

/** Returns the values by hour, ascending within each hour. */
function sortBySlot({ times, values, rows }: Chunk, hours: Quarters): Float64Array {
  const first = hours.numbers[0] as number;
  for (let h = 0, end = 0; h < hours.numbers.length; h++) {
    counts[(hours.numbers[h] as number) - first] = end; // the next free place of the hour
    end += hours.rows[h] as number;
  }
  const sorted = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    const slot = Math.floor((times[i] as number) / HOUR_US) - first;
    sorted[(counts[slot] as number)++] = values[i] as number;
  }
  for (let h = 0, start = 0; h < hours.numbers.length; h++) {
    const end = start + (hours.rows[h] as number);
    sorted.subarray(start, end).sort();
    counts[(hours.numbers[h] as number) - first] = 0;
    start = end;
  }
  return sorted;
}

/** Adds the exact sum of each hour to its sorted values. */
function sumByHour({ numbers, rows }: Quarters, sorted: Float64Array): Hours {
  const sums = new Float64Array(3 * numbers.length);
  const starts = new Uint32Array(numbers.length);
  const ends = new Uint32Array(numbers.length);
  for (let h = 0, start = 0; h < numbers.length; h++) {
    const end = start + (rows[h] as number);
    const parts = sumInThreeParts(sorted.subarray(start, end)) ?? [Number.NaN, Number.NaN, Number.NaN];
    sums.set(parts, 3 * h);
    starts[h] = start;
    ends[h] = end;
    start = end;
  }
  return { numbers, starts, ends, sums, sorted };
}

function encodeQuarters({ numbers, rows }: Quarters): Uint8Array {
  return concat([bytesOf(numbers), bytesOf(rows)]);
}

function encodeHours({ sums, numbers, ends }: Pick<Hours, 'sums' | 'numbers' | 'ends'>): Uint8Array {
  return concat([bytesOf(sums), bytesOf(numbers), bytesOf(ends)]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((bytes, part) => bytes + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}
