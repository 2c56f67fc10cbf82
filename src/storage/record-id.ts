/*
 * A record's id is a UUIDv7. Its time part, as a number, is the key of its row: `seq`, milliseconds since
 * 2020 times 4,096, plus a counter within the millisecond. ingest/ids.ts makes them.
 */

/** 2020-01-01T00:00:00Z in milliseconds: from here, 41 bits of milliseconds last until 2089. */
export const SEQ_EPOCH = Date.UTC(2020, 0, 1);
/** Ids within one millisecond: 12 bits. Milliseconds and counter together fill the 53 exact bits of a double. */
export const COUNTER_RANGE = 4096;

/**
 * IDs follow the clock up to here, in milliseconds. Until keys would pass 2^53, in 2089, there is room for 10^15 more
 * records, so that a clock that has run ahead, for however long, never stops recording.
 */
export const CLOCK_LIMIT = Date.UTC(2080, 0, 1);
/** No key is above: a double does not hold larger ones exactly. */
export const MAX_SEQ = Number.MAX_SAFE_INTEGER;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether a text has the form of a record's id: UUIDv7, in lower case with hyphens. */
export function isRecordId(text: string): boolean {
  return UUID_V7.test(text);
}

/** The `seq` of an id; below 0 for one from before 2020. */
export function seqOfId(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - SEQ_EPOCH) * COUNTER_RANGE + Number.parseInt(id.slice(15, 18), 16);
}

/** The time of a `seq`, in milliseconds since 1970. */
export function millisecondOf(seq: number): number {
  return Math.floor(seq / COUNTER_RANGE) + SEQ_EPOCH;
}
