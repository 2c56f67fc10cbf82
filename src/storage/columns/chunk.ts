/** A run of rows of one series; the arrays have one element a row. */
export interface Chunk {
  readonly rows: number;
  /** When it happened, in microseconds since 1970. */
  readonly times: Float64Array;
  /** Numbers of users. */
  readonly users: Uint32Array;
  /** Numbers of labels. */
  readonly labels: Uint32Array;
  /** The values of a metric; empty for events. */
  readonly values: Float64Array;
  /** The smallest and the largest time. */
  readonly minTime: number;
  readonly maxTime: number;
}

/** The rows of a series that are not in a chunk yet, in arrays that grow. */
export class Tail {
  #rows = 0;
  #times = new Float64Array(64);
  #users = new Uint32Array(64);
  #labels = new Uint32Array(64);
  #values: Float64Array;
  #minTime = Number.POSITIVE_INFINITY;
  #maxTime = Number.NEGATIVE_INFINITY;

  /** @param hasValues whether the rows have values, as those of metrics have */
  constructor(hasValues: boolean) {
    this.#values = new Float64Array(hasValues ? 64 : 0);
  }

  push(time: number, user: number, label: number, value: number): void {
    const row = this.#rows++;
    if (row === this.#times.length) this.#grow();
    this.#times[row] = time;
    this.#users[row] = user;
    this.#labels[row] = label;
    if (this.#values.length > 0) this.#values[row] = value;
    if (time < this.#minTime) this.#minTime = time;
    if (time > this.#maxTime) this.#maxTime = time;
  }

  #grow(): void {
    const double = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#times = double(this.#times, new Float64Array(this.#times.length * 2));
    this.#users = double(this.#users, new Uint32Array(this.#users.length * 2));
    this.#labels = double(this.#labels, new Uint32Array(this.#labels.length * 2));
    this.#values = double(this.#values, new Float64Array(this.#values.length * 2));
  }

  /** A view of the rows so far. */
  chunk(): Chunk {
    return {
      rows: this.#rows,
      minTime: this.#minTime,
      maxTime: this.#maxTime,
      times: this.#times.subarray(0, this.#rows),
      users: this.#users.subarray(0, this.#rows),
      labels: this.#labels.subarray(0, this.#rows),
      values: this.#values.subarray(0, this.#rows),
    };
  }
}

export function joined(first: Chunk, second: Chunk): Chunk {
  const join = <T extends Float64Array | Uint32Array>(to: T, a: T, b: T): T => {
    to.set(a);
    to.set(b, a.length);
    return to;
  };
  const rows = first.rows + second.rows;
  return {
    rows,
    minTime: Math.min(first.minTime, second.minTime),
    maxTime: Math.max(first.maxTime, second.maxTime),
    times: join(new Float64Array(rows), first.times, second.times),
    users: join(new Uint32Array(rows), first.users, second.users),
    labels: join(new Uint32Array(rows), first.labels, second.labels),
    values: join(new Float64Array(first.values.length + second.values.length), first.values, second.values),
  };
}

/** The chunk without the rows of a user. */
export function without(chunk: Chunk, user: number): Chunk {
  const tail = new Tail(chunk.values.length > 0);
  for (let i = 0; i < chunk.rows; i++) {
    if (chunk.users[i] === user) continue;
    tail.push(chunk.times[i] as number, chunk.users[i] as number, chunk.labels[i] as number, chunk.values[i] ?? 0);
  }
  return tail.chunk();
}

export function bytesOf(array: Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The bytes in a buffer of their own, from which arrays of wider numbers can be made. */
export function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
    ? (bytes.buffer as ArrayBuffer)
    : (bytes.slice().buffer as ArrayBuffer);
}
