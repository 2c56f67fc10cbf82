/** Number of bits of the filter that rules out most keys. */
const FILTER_BITS = 2 ** 22;
const MULTIPLIER = 0x9e3779b1;

/** The keys of removed rows, with the shards of their users. */
export class RemovedKeys {
  #seqs = new Float64Array(64);
  #size = 0;
  #isSorted = true;
  readonly #filter = new Uint8Array(FILTER_BITS / 8);
  /** The users of the rows, each by the remainder that determines its shard. */
  readonly shards = new Set<number>();
  readonly #shardCount: number;

  constructor(shardCount: number) {
    this.#shardCount = shardCount;
  }

  get size(): number {
    return this.#size;
  }

  add(user: number, seq: number): void {
    if (this.#size === this.#seqs.length) {
      const seqs = new Float64Array(2 * this.#size);
      seqs.set(this.#seqs);
      this.#seqs = seqs;
    }
    this.#isSorted &&= this.#size === 0 || (this.#seqs[this.#size - 1] as number) < seq;
    this.#seqs[this.#size++] = seq;
    const bit = bitOf(seq);
    (this.#filter[bit >>> 3] as number) |= 1 << (bit & 7);
    this.shards.add(user % this.#shardCount);
  }

  has(seq: number): boolean {
    const bit = bitOf(seq);
    if (((this.#filter[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
    if (!this.#isSorted) this.#seqs.subarray(0, this.#size).sort();
    this.#isSorted = true;
    let low = 0;
    let high = this.#size - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#seqs[middle] as number) < seq) low = middle + 1;
      else high = middle;
    }
    return this.#seqs[low] === seq;
  }
}

function bitOf(seq: number): number {
  return (Math.imul(seq | 0, MULTIPLIER) ^ Math.imul(Math.floor(seq / 2 ** 32), MULTIPLIER)) >>> 10;
}
