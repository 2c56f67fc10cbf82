/** Sorted runs of values. Run `i` is `sources[sourceOf[i]]` from `starts[i]` to `ends[i]`, and is not empty. */
export interface Runs {
  readonly sources: readonly Float64Array[];
  readonly sourceOf: Uint32Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

/** Up to this many values are merged to find a rank. */
const MERGE_THRESHOLD = 32;
/** Minimum and maximum number of values in a sample. */
const SAMPLE = { min: 16, max: 512 };
/** Distance of the pivots from the wanted rank in the sample, in values, relative to the square root of its size. */
const PIVOT_DISTANCE = 0.75;

// reused between calls, since a chart has thousands of buckets
let lows = new Uint32Array(64);
let highs = new Uint32Array(64);
let cuts = new Uint32Array(64);
const merged = new Float64Array(MERGE_THRESHOLD);
const sample = new Float64Array(SAMPLE.max);

/**
 * Finds values by their rank in the sorted order of several runs, without merging them.
 *
 * Takes samples of the values that may have the rank, and drops those above and below two pivots from the sample, by
 * binary search in each run. Every step drops at least one value, and typically all but a few percent.
 */
export class RunSelection {
  readonly #runs: Runs;
  readonly #check: () => void;
  #first = 0;
  #last = 0;

  /** @param check called between passes over the runs; may throw */
  constructor(runs: Runs, check: () => void) {
    this.#runs = runs;
    this.#check = check;
  }

  /** Selects the runs from `first` to `last`, exclusive: at least one. */
  select(first: number, last: number): void {
    this.#first = first;
    this.#last = last;
    if (last - first > lows.length) {
      const length = 2 ** Math.ceil(Math.log2(last - first));
      lows = new Uint32Array(length);
      highs = new Uint32Array(length);
      cuts = new Uint32Array(length);
    }
  }

  #source(run: number): Float64Array {
    return this.#runs.sources[this.#runs.sourceOf[run] as number] as Float64Array;
  }

  /**
   * Returns the value at a rank, and the one after it.
   *
   * @param rank from 0 to one less than the number of values
   */
  at(rank: number): readonly [value: number, next: number] {
    const { starts, ends } = this.#runs;
    const [first, last] = [this.#first, this.#last];
    if (last - first === 1) {
      const source = this.#source(first);
      const place = (starts[first] as number) + rank;
      return [source[place] as number, source[Math.min(place + 1, (ends[first] as number) - 1)] as number];
    }
    const value = this.#valueAt(rank);
    let atMost = 0;
    let next = Number.POSITIVE_INFINITY;
    for (let run = first; run < last; run++) {
      const source = this.#source(run);
      const start = starts[run] as number;
      const end = ends[run] as number;
      const place = firstAbove(source, value, start, end);
      atMost += place - start;
      if (place < end && (source[place] as number) < next) next = source[place] as number;
    }
    return [value, rank + 1 < atMost || next === Number.POSITIVE_INFINITY ? value : next];
  }

  #valueAt(rank: number): number {
    const { starts, ends } = this.#runs;
    const [first, runs] = [this.#first, this.#last - this.#first];
    let size = 0;
    for (let i = 0; i < runs; i++) {
      lows[i] = starts[first + i] as number;
      highs[i] = ends[first + i] as number;
      size += (highs[i] as number) - (lows[i] as number);
    }
    let rest = rank; // the rank among the values that are left
    while (size > MERGE_THRESHOLD) {
      if (runs > 64) this.#check();
      const sampled = this.#takeSample(runs, size);
      const middle = ((rest + 0.5) / size) * sampled;
      const distance = PIVOT_DISTANCE * Math.sqrt(sampled);
      const above = sample[Math.min(sampled - 1, Math.ceil(middle + distance))] as number;
      const below = sample[Math.max(0, Math.floor(middle - distance))] as number;
      const fewer = this.#cut(runs, above, firstAtLeast);
      if (rest < fewer) {
        highs.set(cuts.subarray(0, runs));
        size = fewer;
      }
      const atMost = this.#cut(runs, below, firstAbove);
      if (rest >= atMost) {
        lows.set(cuts.subarray(0, runs));
        rest -= atMost;
        size -= atMost;
        if (rest >= fewer - atMost && rest < this.#cut(runs, above, firstAbove)) return above;
        continue;
      }
      const less = this.#cut(runs, below, firstAtLeast);
      if (rest >= less) return below;
      highs.set(cuts.subarray(0, runs));
      size = less;
    }
    let at = 0;
    for (let i = 0; i < runs; i++) {
      const source = this.#source(first + i);
      for (let place = lows[i] as number; place < (highs[i] as number); place++) {
        const value = source[place] as number;
        let to = at++;
        for (; to > 0 && (merged[to - 1] as number) > value; to--) merged[to] = merged[to - 1] as number;
        merged[to] = value;
      }
    }
    return merged[rest] as number;
  }

  /** Fills the sample with values at equal distances in the concatenation of the runs, sorted. Returns their number. */
  #takeSample(runs: number, size: number): number {
    const sampled = Math.min(SAMPLE.max, Math.max(SAMPLE.min, Math.ceil(size / 64)));
    const step = size / sampled;
    let taken = 0;
    for (let i = 0, before = 0; i < runs; i++) {
      const low = lows[i] as number;
      const length = (highs[i] as number) - low;
      const source = this.#source(this.#first + i);
      for (;;) {
        const place = Math.floor((taken + 0.5) * step) - before;
        if (place >= length || taken === sampled) break;
        sample[taken++] = source[low + place] as number;
      }
      before += length;
    }
    sample.subarray(0, taken).sort();
    return taken;
  }

  /** Sets `cuts` to a place in each run, found by binary search. Returns the number of values before those places. */
  #cut(runs: number, pivot: number, search: typeof firstAbove): number {
    let before = 0;
    for (let i = 0; i < runs; i++) {
      const low = lows[i] as number;
      const place = search(this.#source(this.#first + i), pivot, low, highs[i] as number);
      cuts[i] = place;
      before += place - low;
    }
    return before;
  }
}

/** Returns the first place from `low` to `high` whose value is at least the pivot; `high` if there is none. */
function firstAtLeast(values: Float64Array, pivot: number, low: number, high: number): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((values[middle] as number) < pivot) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Returns the first place from `low` to `high` whose value is above the pivot; `high` if there is none. */
function firstAbove(values: Float64Array, pivot: number, low: number, high: number): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((values[middle] as number) <= pivot) from = middle + 1;
    else to = middle;
  }
  return from;
}
