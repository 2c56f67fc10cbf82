/*
 * A row that is too long for its page has only a part there; the rest is on overflow pages. For pages of 4096 bytes, a row of
 * more than 4061 bytes has a local part of 489 + (bytes - 489) mod 4092 bytes, or of 489 bytes if that is more than 4061
 * (https://www.sqlite.org/fileformat2.html, section 1.6). So a row that becomes shorter can have a longer local part. If the
 * page has no room for it, SQLite moves the rows next to it to other pages, and leaves old copies of them behind.
 */

/** Bytes of a row on an overflow page. */
const OVERFLOW_BYTES = 4092;
/** Longest local part, and shortest one of a row with overflow pages. */
const MAX_LOCAL_BYTES = 4061;
const MIN_LOCAL_BYTES = 489;
/** Stands for a checksum of unknown size. */
const LARGEST_NUMBER = Number.MAX_SAFE_INTEGER;

/** The values of a row except its key: integers, and the lengths of its blobs in bytes. */
export interface RowSizes {
  readonly integers: readonly number[];
  readonly blobs: readonly number[];
}

/** Returns the number of bytes of a row on its own page. */
export function localBytes(bytes: number): number {
  if (bytes <= MAX_LOCAL_BYTES) return bytes;
  const local = MIN_LOCAL_BYTES + ((bytes - MIN_LOCAL_BYTES) % OVERFLOW_BYTES);
  return local <= MAX_LOCAL_BYTES ? local : MIN_LOCAL_BYTES;
}

/** Returns the size of a row whose key is its `rowid`: a header with a type per value, and the values (section 2.1). */
export function rowBytes({ integers, blobs }: RowSizes): number {
  let header = 1 + integers.length; // the type of the key, which is not stored, and of each integer
  let values = 0;
  for (const integer of integers) values += integerBytes(integer);
  for (const blob of blobs) {
    header += varintBytes(2 * blob + 12);
    values += blob;
  }
  return header + varintBytes(header + 1) + values;
}

/**
 * Returns how many zeros to append to the last blob of a row that replaces a stored one, so that its local part does not
 * become longer: a multiple of 8, at most a page or two. Undefined if there is no such number.
 *
 * @param row the new row, with a checksum that will change as the first integer
 */
export function paddingFor({ integers, blobs }: RowSizes, stored: RowSizes): number | undefined {
  if (sum(blobs) === sum(stored.blobs)) return 0; // overwritten in place
  const storedBytes = rowBytes(stored);
  const maxLocal = localBytes(storedBytes);
  const numbers = [LARGEST_NUMBER, ...integers.slice(1)];
  const [others, last = 0] = [blobs.slice(0, -1), blobs.at(-1)];
  for (let padding = 0; padding <= 2 * OVERFLOW_BYTES; padding += 8) {
    const bytes = rowBytes({ integers: numbers, blobs: [...others, last + padding] });
    if (localBytes(bytes) <= maxLocal) return padding === 0 || bytes <= storedBytes ? padding : undefined;
  }
  return undefined;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Returns the size of an integer in a row. */
function integerBytes(integer: number): number {
  if (integer === 0 || integer === 1) return 0;
  const bits = integer < 0 ? -integer - 1 : integer;
  for (const bytes of [1, 2, 3, 4, 6]) if (bits < 2 ** (8 * bytes - 1)) return bytes;
  return 8;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
