import { extremesOf } from '../storage/columns/extremes.ts';
import { valuesAt } from './percentiles.ts';

/** Sorted runs of values. Run `i` is `sources[sourceOf[i]]` from `starts[i]` to `ends[i]`, and is not empty. */
export interface Runs {
  readonly sources: readonly Float64Array[];
  readonly sourceOf: Uint32Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

/** Up to this many values are copied and searched as a whole, which takes about 6 ns per value. */
const FEW_VALUES = { min: 128, perRun: 64, max: 4096 };
/** So are more, up to a number, if runs have few values on average: six binary searches in a run take about 300 ns. */
const SHORT_RUN = 64;
const MAX_COPIED_VALUES = 2 ** 18;
/** Minimum and maximum number of values in a sample. */
const SAMPLE = { min: 64, max: 8192 };
/** Distance of the pivots from the wanted rank, in standard deviations of the rank that a sample leads to. */
const PIVOT_DEVIATIONS = 2.5;
/** Passes over this many runs or more are preceded by a check. */
const CHECKED_RUNS = 64;

/** The part of each run that is left. */
interface Parts {
  lows: Uint32Array;
  highs: Uint32Array;
}

// reused between calls, since a chart has thousands of buckets
let copied = new Float64Array(FEW_VALUES.max);
const [firstSample, laterSample] = [new Float64Array(SAMPLE.max), new Float64Array(SAMPLE.max)];
let parts: Parts = allocateParts(64);
let cuts: Parts = allocateParts(64);

function allocateParts(runs: number): Parts {
  return { lows: new Uint32Array(runs), highs: new Uint32Array(runs) };
}

/** Returns how many values are copied and searched as a whole: searches in many runs take longer. */
function fewValues(runs: number): number {
  return Math.min(FEW_VALUES.max, Math.max(FEW_VALUES.min, FEW_VALUES.perRun * runs));
}

/**
 * Returns the distance of the pivots from the wanted rank, in values of the sample.
 *
 * The sample is taken at equal distances from runs that are sorted. The number of values below a pivot is therefore known in
 * each run, except for an error that is uniform over one distance and so has a variance of 1/12. The variances of all runs add up.
 */
function pivotDistance(runs: number): number {
  return PIVOT_DEVIATIONS * Math.sqrt(runs / 12) + 1;
}

/**
 * Returns how many of some values to take as a sample. Each takes about 30 ns to read and sort, and of the values, twice
 * the distance of the pivots divided by this number are then left for each of three ranks, which take 6 ns each.
 */
function sampleSize(size: number, runs: number): number {
  return Math.min(SAMPLE.max, Math.max(SAMPLE.min, Math.ceil(Math.sqrt(1.2 * pivotDistance(runs) * size))));
}

/**
 * Finds values by their rank in the sorted order of several runs, without merging them.
 *
 * If there are many, takes a sample of the values and two pivots of it, between which a rank probably lies. The values below and above them are
 * dropped by binary search in each run. Once few are left, they are copied and searched.
 */
export class RunSelection {
  readonly #runs: Runs;
  readonly #check: () => void;

  /** @param check called between passes over the runs; may throw */
  constructor(runs: Runs, check: () => void) {
    this.#runs = runs;
    this.#check = check;
  }

  #source(run: number): Float64Array {
    return this.#runs.sources[this.#runs.sourceOf[run] as number] as Float64Array;
  }

  /**
   * Finds values by rank in the runs from `first` to `last`, exclusive: at least one.
   *
   * @param ranks ascending, from 0 to one less than the number of values
   * @param found receives two values per rank: the one at this rank, and the one at the next, or the same after the last
   */
  find(first: number, last: number, ranks: readonly number[], found: Float64Array): void {
    const { starts, ends } = this.#runs;
    const runs = last - first;
    if (runs === 1) {
      const source = this.#source(first);
      const start = starts[first] as number;
      const lastPlace = (ends[first] as number) - 1;
      for (let i = 0; i < ranks.length; i++) {
        const place = start + (ranks[i] as number);
        found[2 * i] = source[place] as number;
        found[2 * i + 1] = source[Math.min(place + 1, lastPlace)] as number;
      }
      return;
    }
    if (runs > parts.lows.length) {
      const length = 2 ** Math.ceil(Math.log2(runs));
      parts = allocateParts(length);
      cuts = allocateParts(length);
    }
    const size = this.#restart(first, runs);
    if (size <= fewValues(runs) || size <= Math.min(SHORT_RUN * runs, MAX_COPIED_VALUES)) {
      if (size > copied.length) copied = new Float64Array(MAX_COPIED_VALUES);
      this.#copy(first, runs);
      const places: number[] = []; // each once, since ranks can be equal, or next to each other
      for (const rank of ranks) {
        for (const place of [rank, rank + 1]) if (place < size && place > (places.at(-1) ?? -1)) places.push(place);
      }
      const values = valuesAmongCopied(size, places);
      for (let i = 0, at = 0; i < ranks.length; i++) {
        while (places[at] !== ranks[i]) at++;
        found[2 * i] = values[at] as number;
        found[2 * i + 1] = (values[at + 1] ?? values[at]) as number;
      }
      return;
    }
    const sampled = this.#takeSample(first, runs, size, firstSample);
    for (let i = 0; i < ranks.length; i++) {
      if (i > 0) this.#restart(first, runs);
      this.#findOne(first, runs, size, sampled, ranks[i] as number, found.subarray(2 * i, 2 * i + 2));
    }
  }

  /** Selects all values. Returns their number. */
  #restart(first: number, runs: number): number {
    const { starts, ends } = this.#runs;
    const { lows, highs } = parts;
    let size = 0;
    for (let i = 0; i < runs; i++) {
      const [start, end] = [starts[first + i] as number, ends[first + i] as number];
      lows[i] = start;
      highs[i] = end;
      size += end - start;
    }
    return size;
  }

  /** Finds the values at a rank and at the next. `sampled` is the number of values in the first sample. */
  #findOne(first: number, runs: number, size: number, sampled: number, rank: number, found: Float64Array): void {
    let left = size;
    let rest = rank; // the rank among the values that are left
    let sample = firstSample;
    let samples = sampled;
    let distance = pivotDistance(runs);
    const few = fewValues(runs);
    while (left > few) {
      if (runs >= CHECKED_RUNS) this.#check();
      const middle = ((rest + 0.5) / left) * samples;
      const below = sample[Math.max(0, Math.floor(middle - distance))] as number;
      const above = sample[Math.min(samples - 1, Math.floor(middle + distance))] as number;
      const { lows, highs } = parts;
      const { lows: lowCuts, highs: highCuts } = cuts;
      let before = 0;
      let inside = 0;
      for (let i = 0; i < runs; i++) {
        const source = this.#source(first + i);
        const low = lows[i] as number;
        const high = highs[i] as number;
        const lowCut = firstAtLeast(source, below, low, high);
        const highCut = firstAbove(source, above, lowCut, high);
        lowCuts[i] = lowCut;
        highCuts[i] = highCut;
        before += lowCut - low;
        inside += highCut - lowCut;
      }
      const isStuck = inside === left;
      if (rest < before) {
        [parts.highs, cuts.lows] = [lowCuts, highs];
        left = before;
      } else if (rest >= before + inside) {
        [parts.lows, cuts.highs] = [highCuts, lows];
        rest -= before + inside;
        left -= before + inside;
      } else {
        [parts, cuts] = [cuts, parts];
        rest -= before;
        left = inside;
        if (below === above) {
          found[0] = below;
          found[1] = rest + 1 < left ? below : this.#nextValue(first, runs, below);
          return;
        }
      }
      sample = laterSample;
      samples = this.#takeSample(first, runs, left, sample);
      // equal pivots drop at least one value
      distance = isStuck ? 0 : pivotDistance(runs);
    }
    const copiedValues = this.#copy(first, runs);
    const places = rest + 1 < copiedValues ? [rest, rest + 1] : [rest];
    const [value, next] = valuesAmongCopied(copiedValues, places) as [number, number | undefined];
    found[0] = value;
    found[1] = next ?? this.#nextValue(first, runs, value);
  }

  /** Returns the smallest value after the ones that are left; `otherwise` if there is none. */
  #nextValue(first: number, runs: number, otherwise: number): number {
    const { ends } = this.#runs;
    let next = Number.POSITIVE_INFINITY;
    for (let i = 0; i < runs; i++) {
      const place = parts.highs[i] as number;
      if (place < (ends[first + i] as number)) next = Math.min(next, this.#source(first + i)[place] as number);
    }
    return next === Number.POSITIVE_INFINITY ? otherwise : next;
  }

  /** Copies the values that are left. Returns their number. */
  #copy(first: number, runs: number): number {
    const { lows, highs } = parts;
    let at = 0;
    for (let i = 0; i < runs; i++) {
      const source = this.#source(first + i);
      const high = highs[i] as number;
      for (let place = lows[i] as number; place < high; place++) copied[at++] = source[place] as number;
    }
    return at;
  }

  /** Takes values at equal distances in the concatenation of what is left of the runs, sorted. Returns their number. */
  #takeSample(first: number, runs: number, size: number, sample: Float64Array): number {
    const { lows, highs } = parts;
    const sampled = sampleSize(size, runs);
    const step = size / sampled;
    let taken = 0;
    for (let i = 0, before = 0; i < runs; i++) {
      const low = lows[i] as number;
      const length = (highs[i] as number) - low;
      const source = this.#source(first + i);
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
}

/** Returns the values at ranks among the first copied ones. */
function valuesAmongCopied(size: number, ranks: readonly number[]): number[] {
  const values = copied.subarray(0, size);
  return valuesAt(values, ranks, ...extremesOf(values));
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
