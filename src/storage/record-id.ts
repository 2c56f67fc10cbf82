/*
 * A record's ID is a UUIDv7. Its time part, as a number, is the row's key `seq`: milliseconds since 2020 times 4,096,
 * plus a counter within the millisecond. ingest/ids.ts generates IDs.
 */

/** 2020-01-01T00:00:00Z, in milliseconds since 1970. Counted from here, 41 bits of milliseconds last until 2089. */
export const SEQ_EPOCH = Date.UTC(2020, 0, 1);
/** IDs per millisecond: 12 bits. Milliseconds and counter together fill the 53 exact bits of a double. */
export const COUNTER_RANGE = 4096;

/**
 * Time from which IDs no longer follow the clock, in milliseconds since 1970. This leaves 10^15 keys below 2^53, which
 * the clock reaches in 2089, so even a clock that is far ahead never stops recording.
 */
export const CLOCK_LIMIT = Date.UTC(2080, 0, 1);
/** Largest key: a double does not represent larger integers exactly. */
export const MAX_SEQ = Number.MAX_SAFE_INTEGER;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Returns whether a text has the format of a record ID: a UUIDv7 in lowercase with hyphens. */
export function isRecordId(text: string): boolean {
  return UUID_V7.test(text);
}

/** Returns the `seq` of an ID; negative if the ID is from before 2020. */
export function seqOfId(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - SEQ_EPOCH) * COUNTER_RANGE + Number.parseInt(id.slice(15, 18), 16);
}

/** Returns an ID with another `seq`, its time part. */
export function idWithSeq(id: string, seq: number): string {
  return timePartOf(seq) + id.slice(18);
}

/** Returns the time part of the ID with a `seq`, including the version: its first three groups. */
export function timePartOf(seq: number): string {
  const time = millisecondOf(seq).toString(16).padStart(12, '0');
  const counter = (seq % COUNTER_RANGE).toString(16).padStart(3, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}`;
}

/** Returns the time of a `seq`, in milliseconds since 1970. */
export function millisecondOf(seq: number): number {
  return Math.floor(seq / COUNTER_RANGE) + SEQ_EPOCH;
}

/** Returns the largest ID with a `seq`: no ID with this or an earlier one sorts after it. */
export function lastIdOf(seq: number): string {
  return `${timePartOf(seq)}-bfff-ffffffffffff`;
}
