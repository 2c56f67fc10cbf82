/*
 * The encoding of a part of a user row index: rows of many users, sorted by user, then by `seq`. The rows of one user are
 * found and decoded without decoding the others.
 *
 *   users: per user, the first seq: float64 | the user: uint32 | the number of rows: uint32 | the end in `seqs`: uint32
 *   seqs: per user with several rows, the width of a difference in bytes: uint8 | each further row's difference from the
 *         previous one, in that width | one float64 per difference that does not fit, which stands as all ones
 *
 * The entry of an erased user stays with the number of the user before it, no rows, and zeros: all others keep their place, so
 * that SQLite writes only the pages that differ.
 */

/** Rows of users: parallel arrays with one element per row. */
export interface UserEntries {
  readonly users: Uint32Array;
  readonly seqs: Float64Array;
}

/** A part as stored blobs. */
export interface PartBlobs {
  readonly users: Uint8Array;
  readonly seqs: Uint8Array;
}

/** Bytes per user in {@link PartBlobs.users}. */
const USER_BYTES = 20;
/** Widths of a difference, in bytes. Six bytes are more than two years. */
const MIN_WIDTH = 2;
const MAX_WIDTH = 6;

/** Rows that are sorted by shard, then by user. */
export interface SortedEntries extends UserEntries {
  /** The index of the first row of each shard, and the number of rows. */
  readonly starts: Uint32Array;
}

/** Size of the table of a counting sort, per row, up to which it is used. */
const MAX_COUNTS_PER_ROW = 4;

/** Returns rows sorted by shard, which is the user's remainder, then by user. The rows of a user keep their order. */
export function sortByShard({ users, seqs }: UserEntries, shards: number): SortedEntries {
  const rows = users.length;
  let most = 0;
  for (let row = 0; row < rows; row++) if ((users[row] as number) > most) most = users[row] as number;
  const usersPerShard = Math.floor(most / shards) + 1;
  /** The position of a user in the order of the result. */
  const rankOf = (user: number) => (user % shards) * usersPerShard + Math.floor(user / shards);
  const order =
    shards * usersPerShard <= MAX_COUNTS_PER_ROW * rows + shards
      ? countingSort(users, rankOf, shards * usersPerShard)
      : keySort(users, rankOf);
  const sorted = { users: new Uint32Array(rows), seqs: new Float64Array(rows), starts: new Uint32Array(shards + 1) };
  for (let i = 0; i < rows; i++) {
    const row = order[i] as number;
    const user = users[row] as number;
    sorted.users[i] = user;
    sorted.seqs[i] = seqs[row] as number;
    (sorted.starts[(user % shards) + 1] as number)++;
  }
  for (let shard = 1; shard <= shards; shard++) (sorted.starts[shard] as number) += sorted.starts[shard - 1] as number;
  return sorted;
}

/** Returns the indexes of the rows in the order of their users' ranks. */
function countingSort(users: Uint32Array, rankOf: (user: number) => number, ranks: number): Uint32Array {
  const next = new Uint32Array(ranks + 1);
  for (let row = 0; row < users.length; row++) (next[rankOf(users[row] as number) + 1] as number)++;
  for (let rank = 1; rank <= ranks; rank++) (next[rank] as number) += next[rank - 1] as number;
  const order = new Uint32Array(users.length);
  for (let row = 0; row < users.length; row++) {
    const rank = rankOf(users[row] as number);
    order[next[rank] as number] = row;
    (next[rank] as number)++;
  }
  return order;
}

/** Like {@link countingSort}, for many more users than rows. */
function keySort(users: Uint32Array, rankOf: (user: number) => number): Uint32Array {
  const range = users.length;
  // one number per row, because typed arrays are sorted fastest without a comparison function
  const keys = new Float64Array(users.length);
  for (let row = 0; row < users.length; row++) keys[row] = rankOf(users[row] as number) * range + row;
  return Uint32Array.from(keys.sort(), (key) => key % range);
}

/** Merges the rows of several parts that are each sorted by user. The rows of a part are later than those before it. */
export function mergeEntries(parts: readonly UserEntries[]): UserEntries {
  const [first, ...others] = parts;
  if (!first || others.length === 0) return first ?? { users: new Uint32Array(0), seqs: new Float64Array(0) };
  const middle = parts.length >> 1;
  return mergeTwo(mergeEntries(parts.slice(0, middle)), mergeEntries(parts.slice(middle)));
}

function mergeTwo(first: UserEntries, second: UserEntries): UserEntries {
  const rows = first.users.length + second.users.length;
  const users = new Uint32Array(rows);
  const seqs = new Float64Array(rows);
  for (let at = 0, a = 0, b = 0; at < rows; at++) {
    const takesFirst =
      b === second.users.length ||
      (a < first.users.length && (first.users[a] as number) <= (second.users[b] as number));
    users[at] = (takesFirst ? first.users[a] : second.users[b]) as number;
    seqs[at] = (takesFirst ? first.seqs[a++] : second.seqs[b++]) as number;
  }
  return { users, seqs };
}

/** Encodes rows that are sorted by user, then by `seq`. */
export function encodePart({ users, seqs }: UserEntries): PartBlobs {
  const starts: number[] = [];
  for (let i = 0; i < users.length; i++) if (i === 0 || users[i] !== users[i - 1]) starts.push(i);
  const count = starts.length;
  const head = new DataView(new ArrayBuffer(USER_BYTES * count));
  // an upper bound: a difference takes at most its full width, and the 8 bytes of one that does not fit
  const body = new DataView(new ArrayBuffer(count + (MAX_WIDTH + 8) * users.length));
  let end = 0;
  for (let user = 0; user < count; user++) {
    const start = starts[user] as number;
    const stop = starts[user + 1] ?? users.length;
    end = encodeSeqsOfUser(seqs, start, stop, body, end);
    head.setFloat64(8 * user, seqs[start] as number, true);
    head.setUint32(8 * count + 4 * user, users[start] as number, true);
    head.setUint32(12 * count + 4 * user, stop - start, true);
    head.setUint32(16 * count + 4 * user, end, true);
  }
  return { users: new Uint8Array(head.buffer), seqs: new Uint8Array(body.buffer, 0, end).slice() };
}

/** Writes the differences of a user's rows at a position. Returns the end. */
function encodeSeqsOfUser(seqs: Float64Array, start: number, stop: number, body: DataView, position: number): number {
  if (stop - start === 1) return position;
  const width = bestWidth(seqs, start, stop);
  const marker = 256 ** width - 1;
  body.setUint8(position, width);
  let at = position + 1;
  let largeAt = at + width * (stop - start - 1);
  for (let i = start + 1; i < stop; i++, at += width) {
    const difference = (seqs[i] as number) - (seqs[i - 1] as number);
    writeInteger(body, at, width, Math.min(difference, marker));
    if (difference < marker) continue;
    body.setFloat64(largeAt, difference, true);
    largeAt += 8;
  }
  return largeAt;
}

/** Returns the width with which the differences take the fewest bytes. */
function bestWidth(seqs: Float64Array, start: number, stop: number): number {
  /** The number of differences by the width they need; wider ones are counted at the end. */
  const counts = new Uint32Array(MAX_WIDTH + 2);
  for (let i = start + 1; i < stop; i++) {
    const difference = (seqs[i] as number) - (seqs[i - 1] as number);
    let width = MIN_WIDTH;
    while (width <= MAX_WIDTH && difference >= 256 ** width - 1) width++;
    (counts[width] as number)++;
  }
  let best = MAX_WIDTH;
  let large = counts[MAX_WIDTH + 1] as number;
  let bestBytes = MAX_WIDTH * (stop - start - 1) + 8 * large;
  for (let width = MAX_WIDTH - 1; width >= MIN_WIDTH; width--) {
    large += counts[width + 1] as number;
    const bytes = width * (stop - start - 1) + 8 * large;
    if (bytes >= bestBytes) continue;
    best = width;
    bestBytes = bytes;
  }
  return best;
}

function writeInteger(view: DataView, at: number, width: number, value: number): void {
  if (width < 4) {
    view.setUint16(at, value & 0xffff, true);
    if (width === 3) view.setUint8(at + 2, value >>> 16);
    return;
  }
  view.setUint32(at, value % 2 ** 32, true);
  const high = Math.floor(value / 2 ** 32);
  if (width === 5) view.setUint8(at + 4, high);
  else if (width === 6) view.setUint16(at + 4, high, true);
}

function readInteger(view: DataView, at: number, width: number): number {
  switch (width) {
    case 2:
      return view.getUint16(at, true);
    case 3:
      return view.getUint16(at, true) + 2 ** 16 * view.getUint8(at + 2);
    case 4:
      return view.getUint32(at, true);
    case 5:
      return view.getUint32(at, true) + 2 ** 32 * view.getUint8(at + 4);
    default:
      return view.getUint32(at, true) + 2 ** 32 * view.getUint16(at + 4, true);
  }
}

/** Decodes all rows of a part. */
export function decodePart(blobs: PartBlobs): UserEntries {
  const index = new PartIndex(blobs);
  const rows = index.rows;
  const users = new Uint32Array(rows);
  const seqs = new Float64Array(rows);
  for (let user = 0, at = 0; user < index.count; user++) {
    const length = index.decode(user, seqs, at);
    users.fill(index.userAt(user), at, at + length);
    at += length;
  }
  return { users, seqs };
}

/** Returns the `seq` of each row of a user in a part, ascending. */
export function seqsInPart(blobs: PartBlobs, user: number): Float64Array {
  const index = new PartIndex(blobs);
  const found = index.find(user);
  if (found < 0) return new Float64Array(0);
  const seqs = new Float64Array(index.rowsAt(found));
  index.decode(found, seqs, 0);
  return seqs;
}

/** Overwrites the rows of a user in the bytes of a part, without decoding the others. Returns their number. */
export function overwriteUserInPart(blobs: PartBlobs, user: number): number {
  const index = new PartIndex(blobs);
  const found = index.find(user);
  return found < 0 ? 0 : index.overwrite(found);
}

/** The users of a part, by their position in it. */
class PartIndex {
  readonly count: number;
  readonly #head: DataView;
  readonly #body: DataView;

  constructor({ users, seqs }: PartBlobs) {
    this.count = users.length / USER_BYTES;
    this.#head = new DataView(users.buffer, users.byteOffset, users.byteLength);
    this.#body = new DataView(seqs.buffer, seqs.byteOffset, seqs.byteLength);
  }

  get rows(): number {
    let rows = 0;
    for (let user = 0; user < this.count; user++) rows += this.rowsAt(user);
    return rows;
  }

  userAt(position: number): number {
    return this.#head.getUint32(8 * this.count + 4 * position, true);
  }

  rowsAt(position: number): number {
    return this.#head.getUint32(12 * this.count + 4 * position, true);
  }

  /** Returns the position of a user; -1 if the user has no rows. */
  find(user: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.userAt(middle) < user) low = middle + 1;
      else high = middle;
    }
    return low < this.count && this.userAt(low) === user ? low : -1;
  }

  /** Returns where the rows of the user at a position start in `seqs`. */
  #startOf(position: number): number {
    return position === 0 ? 0 : this.#head.getUint32(16 * this.count + 4 * (position - 1), true);
  }

  /** Overwrites the user at a position with one that has no rows. Returns the number of its rows. */
  overwrite(position: number): number {
    const rows = this.rowsAt(position);
    const user = this.userAt(position);
    const previous = position === 0 ? 0 : this.userAt(position - 1);
    // and those that were erased earlier, after this user
    for (let at = position; at < this.count && this.userAt(at) === user; at++) {
      this.#head.setUint32(8 * this.count + 4 * at, previous, true);
    }
    this.#head.setFloat64(8 * position, 0, true);
    this.#head.setUint32(12 * this.count + 4 * position, 0, true);
    for (let at = this.#startOf(position); at < this.#startOf(position + 1); at++) this.#body.setUint8(at, 0);
    return rows;
  }

  /** Decodes the rows of the user at a position into an array, from an index on. Returns their number. */
  decode(position: number, into: Float64Array, from: number): number {
    const rows = this.rowsAt(position);
    if (rows === 0) return 0;
    let seq = this.#head.getFloat64(8 * position, true);
    into[from] = seq;
    if (rows === 1) return rows;
    let at = this.#startOf(position);
    const width = this.#body.getUint8(at++);
    const marker = 256 ** width - 1;
    let largeAt = at + width * (rows - 1);
    for (let i = 1; i < rows; i++, at += width) {
      const difference = readInteger(this.#body, at, width);
      seq += difference < marker ? difference : this.#body.getFloat64(largeAt, true);
      if (difference === marker) largeAt += 8;
      into[from + i] = seq;
    }
    return rows;
  }
}
