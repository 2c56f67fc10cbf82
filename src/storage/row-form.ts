import type { LogRecord } from '../records.ts';
import { COUNTER_RANGE, isRecordId, millisecondOf, SEQ_EPOCH, seqOfId } from './record-id.ts';

/*
 * The two forms in which the tables `metrics` and `analytics` store the ID and the times of a row.
 *
 * The short form does not repeat what `seq` already says: `id` is only the random part of the ID, 64 bits as 10 characters
 * instead of 36, and both times are relative to the time of `seq`, so they are usually 0, which SQLite stores without a
 * byte. A row that is recorded here has this form.
 *
 * The full form is the whole ID, and times since 1970. Rows that older versions stored have it, and those of imported
 * records that were moved, or that happened centuries before they were received.
 *
 * A blank row has neither an ID nor times.
 */

/** The columns of a row that have two forms. */
export interface RowForm {
  readonly id: string;
  readonly happenedAt: number;
  readonly receivedAt: number;
}

/*
 * The random part is Ascii85, without its abbreviation for zeros: each 32 bits are five digits to the base of 85, the
 * highest one first, and a digit is the character that many places after "!". STRICT tables do not accept a BLOB of eight
 * bytes in a column of texts, and a new column would make the migration read the whole table.
 */
const BASE = 85;
const ZERO = '!'.charCodeAt(0);
const DIGITS = 5;
const SHORT_LENGTH = 2 * DIGITS;
const WORD_RANGE = 2 ** 32;

/** Returns 64 bits, of which these are the first and the last 32, as the short form stores them. */
export function encodeRandomPart(high: number, low: number): string {
  // Quotients, from the last to the first. This runs for every record, and arrays would take eight times as long.
  const h3 = (high / BASE) >>> 0;
  const h2 = (h3 / BASE) >>> 0;
  const h1 = (h2 / BASE) >>> 0;
  const h0 = (h1 / BASE) >>> 0;
  const l3 = (low / BASE) >>> 0;
  const l2 = (l3 / BASE) >>> 0;
  const l1 = (l2 / BASE) >>> 0;
  const l0 = (l1 / BASE) >>> 0;
  return String.fromCharCode(
    ZERO + h0,
    ZERO + h1 - h0 * BASE,
    ZERO + h2 - h1 * BASE,
    ZERO + h3 - h2 * BASE,
    ZERO + high - h3 * BASE,
    ZERO + l0,
    ZERO + l1 - l0 * BASE,
    ZERO + l2 - l1 * BASE,
    ZERO + l3 - l2 * BASE,
    ZERO + low - l3 * BASE,
  );
}

/** Returns 32 bits of an encoded random part, from a position on; NaN if it is damaged. */
function decodeWord(text: string, from: number): number {
  let word = 0;
  for (let at = from; at < from + DIGITS; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit >= BASE) return Number.NaN;
    word = word * BASE + digit;
  }
  return word < WORD_RANGE ? word : Number.NaN;
}

/**
 * Returns what the row of a record contains.
 *
 * @param record its `randomPart`, if it has one, must be that of its ID, whose time part must be `seq`
 */
export function formOf({
  seq,
  id,
  happenedAt,
  receivedAt,
  randomPart = randomPartOf(id, seq),
}: Pick<LogRecord, 'seq' | 'id' | 'happenedAt' | 'receivedAt' | 'randomPart'>): RowForm {
  if (randomPart === undefined) return { id, happenedAt, receivedAt };
  const time = millisecondOf(seq) * 1000;
  const short = { id: randomPart, happenedAt: happenedAt - time, receivedAt: receivedAt - time };
  // a double does not represent differences of more than 285 years exactly
  const isExact = Number.isSafeInteger(short.happenedAt) && Number.isSafeInteger(short.receivedAt);
  return isExact ? short : { id, happenedAt, receivedAt };
}

/** Returns the random part of an ID; undefined if the ID is not that of a record with this `seq`. */
function randomPartOf(id: string, seq: number): string | undefined {
  if (!isRecordId(id) || seqOfId(id) !== seq || seq < 0) return undefined;
  return encodeRandomPart(Number.parseInt(id.slice(19, 23) + id.slice(24, 28), 16), Number.parseInt(id.slice(28), 16));
}

/** The ID that is being written, as bytes, because one is written for each row that is read. */
const idBytes = Buffer.from('00000000-0000-7000-0000-000000000000');
const HEX_DIGITS = Buffer.from('0123456789abcdef');

/** Writes the hexadecimal digits of a number of up to 32 bits. */
function writeHex(at: number, digits: number, value: number): void {
  for (let i = at + digits - 1, rest = value; i >= at; i--, rest >>>= 4) idBytes[i] = HEX_DIGITS[rest & 15] as number;
}

/**
 * Returns the ID of a row.
 *
 * @param stored its column `id`
 * @returns the ID; empty if the row is blank, and not an ID if it is damaged
 */
export function idOf(seq: number, stored: string): string {
  if (stored.length !== SHORT_LENGTH) return stored;
  const high = decodeWord(stored, 0);
  const low = decodeWord(stored, DIGITS);
  if (Number.isNaN(high + low)) return stored;
  const millisecond = millisecondOf(seq);
  const upper = Math.floor(millisecond / 65536);
  writeHex(0, 8, upper);
  writeHex(9, 4, millisecond - upper * 65536);
  writeHex(15, 3, seq % COUNTER_RANGE);
  writeHex(19, 4, high >>> 16);
  writeHex(24, 4, high & 65535);
  writeHex(28, 8, low);
  return idBytes.toString('latin1');
}

/** Sets the ID and the times of a row that was read as it is stored. */
export function restoreForm(row: { readonly seq: number; id: string; happened_at: number; received_at: number }): void {
  if (row.id.length !== SHORT_LENGTH) return;
  const time = millisecondOf(row.seq) * 1000;
  row.id = idOf(row.seq, row.id);
  row.happened_at += time;
  row.received_at += time;
}

/** SQL condition of a row in the short form. Other programs have SQLite before 3.43, without `octet_length`. */
const IS_SHORT = `length(id) = ${SHORT_LENGTH}`;
/** SQL for the time of `seq`, in milliseconds since 1970. */
const MILLISECOND = `(seq / ${COUNTER_RANGE} + ${SEQ_EPOCH})`;

/** SQL for when a row happened, in microseconds since 1970; of a blank row, 0. */
export const HAPPENED_AT = timeSql('happened_at');
/** SQL for when a row was received, in microseconds since 1970; of a blank row, 0. */
export const RECEIVED_AT = timeSql('received_at');

function timeSql(column: string): string {
  return `(${column} + iif(${IS_SHORT}, ${MILLISECOND} * 1000, 0))`;
}

/**
 * Returns SQL that selects the rows of a table as callers read them, for people who open the file: with whole IDs, times
 * since 1970, and without blank rows.
 *
 * @param columns those that have one form
 */
export function recordsSql(table: string, columns: readonly string[]): string {
  return `SELECT seq,
  iif(${IS_SHORT}, printf('%08x-%04x-7%03x-%04x-%04x%08x', millisecond >> 16, millisecond & 65535, seq % ${COUNTER_RANGE},
    high >> 16, high & 65535, low), id) AS id,
  user_id,
  ${HAPPENED_AT} AS happened_at,
  ${RECEIVED_AT} AS received_at,
  ${columns.join(', ')}
FROM (SELECT *, ${MILLISECOND} AS millisecond,
  ${wordSql(1)} AS high,
  ${wordSql(1 + DIGITS)} AS low
FROM ${table} WHERE user_id <> '')`;
}

/** SQL for 32 bits of a random part, whose first digit has this position. */
function wordSql(from: number): string {
  const digits = Array.from({ length: DIGITS }, (_, i) => `unicode(substr(id, ${from + i}, 1)) - ${ZERO}`);
  return digits.reduce((word, digit) => `(${word}) * ${BASE} + ${digit}`);
}
