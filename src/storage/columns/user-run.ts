import type { PartBlobs, UserEntries } from './user-part.ts';

/*
 * The encoding of a run of a user row index: rows in commit order. Rows are found by a search for the user.
 *
 *   users: uint16 each or, if a number does not fit, uint32
 *   seqs: the first seq: float64 | the lower 32 bits of each row's distance from it: uint32 each | the upper bits: uint8
 *         each or, if a run is longer than three days, uint16. Instead, one float64 per row if a run is longer than two
 *         years, or has up to four rows
 *
 * The rows of an erased user stay as rows of user 0, so that SQLite writes only the pages that differ. Only the `seq` is kept, as
 * in the blank row, until the run is sorted.
 */

const HEADER_BYTES = 8;
const LOW_RANGE = 2 ** 32;

/** Encodes rows in commit order; at least one. */
export function encodeRun({ users, seqs }: UserEntries): PartBlobs {
  const rows = users.length;
  return {
    users: bytesOf(isNarrow(users) ? Uint16Array.from(users) : users),
    seqs: encodeSeqs(seqs, rows),
  };
}

function isNarrow(users: Uint32Array): boolean {
  for (let row = 0; row < users.length; row++) if ((users[row] as number) >= 2 ** 16) return false;
  return true;
}

function encodeSeqs(seqs: Float64Array, rows: number): Uint8Array {
  const first = seqs[0] as number;
  const length = (seqs[rows - 1] as number) - first;
  // four rows would take as many bytes either way, so that the encoding could not be recognized by its length
  if (length >= 2 ** 48 || rows <= 4) return bytesOf(seqs);
  const low = new Uint32Array(rows);
  const high = length < 2 ** 40 ? new Uint8Array(rows) : new Uint16Array(rows);
  for (let row = 0; row < rows; row++) {
    const distance = (seqs[row] as number) - first;
    high[row] = distance / LOW_RANGE;
    low[row] = distance - (high[row] as number) * LOW_RANGE;
  }
  const bytes = new Uint8Array(HEADER_BYTES + low.byteLength + high.byteLength);
  bytes.set(bytesOf(Float64Array.of(first)));
  bytes.set(bytesOf(low), HEADER_BYTES);
  bytes.set(bytesOf(high), HEADER_BYTES + low.byteLength);
  return bytes;
}

/** A decoded run. */
export class UserRun {
  readonly rows: number;
  readonly bytes: number;
  readonly #users: Uint16Array | Uint32Array;
  readonly #first: number = 0;
  readonly #low: Uint32Array = new Uint32Array(0);
  /** The upper bits of each distance, or each `seq`. */
  readonly #high: Uint8Array | Uint16Array | Float64Array;

  constructor({ users, seqs }: PartBlobs, rows: number) {
    this.rows = rows;
    this.bytes = users.byteLength + seqs.byteLength;
    this.#users = usersIn(users, rows);
    const buffer = bufferOf(seqs);
    if (seqs.byteLength === 8 * rows) {
      this.#high = new Float64Array(buffer);
      return;
    }
    [this.#first = 0] = new Float64Array(buffer, 0, 1);
    this.#low = new Uint32Array(buffer, HEADER_BYTES, rows);
    const highAt = HEADER_BYTES + 4 * rows;
    this.#high = seqs.byteLength === highAt + rows ? new Uint8Array(buffer, highAt) : new Uint16Array(buffer, highAt);
  }

  #seq(row: number): number {
    const high = this.#high[row] as number;
    return this.#low.length === 0 ? high : this.#first + (this.#low[row] as number) + high * LOW_RANGE;
  }

  /** Returns the `seq` of each row of a user, ascending. */
  seqsOf(user: number): Float64Array {
    const users = this.#users;
    const found: number[] = [];
    for (let row = users.indexOf(user); row >= 0; row = users.indexOf(user, row + 1)) found.push(this.#seq(row));
    return Float64Array.from(found);
  }

  /** Copies all rows into longer arrays, from an index on. */
  copyTo({ users, seqs }: UserEntries, from: number): void {
    users.set(this.#users, from);
    for (let row = 0; row < this.rows; row++) seqs[from + row] = this.#seq(row);
  }
}

/** Returns the users of a run in which the rows of one are rows of user 0; undefined if that user has none. */
export function overwriteUserInRun({ users }: PartBlobs, rows: number, user: number): Uint8Array | undefined {
  const view = usersIn(users, rows);
  let row = view.indexOf(user);
  if (row < 0) return undefined;
  for (; row >= 0; row = view.indexOf(user, row + 1)) view[row] = 0;
  return bytesOf(view);
}

function usersIn(users: Uint8Array, rows: number): Uint16Array | Uint32Array {
  return users.byteLength === 2 * rows ? new Uint16Array(bufferOf(users)) : new Uint32Array(bufferOf(users));
}

function bytesOf(array: Float64Array | Uint32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Returns the bytes in their own buffer, copying if needed, because arrays of wider numbers must be aligned. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
    ? (bytes.buffer as ArrayBuffer)
    : (bytes.slice().buffer as ArrayBuffer);
}
