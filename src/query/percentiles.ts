/** Fewer values than this are sorted as a whole. */
const SORT_THRESHOLD = 64;
/** Up to this many values are sorted by insertion sort. */
const INSERTION_SORT_THRESHOLD = 32;
/** Approximate number of values per bin, and maximum number of bins. */
const VALUES_PER_BIN = 8;
const MAX_BINS = 2048;
/** If the bins that contain a rank have at most this many values, all are sorted, which takes about 0.2 ms. */
const BIN_SORT_THRESHOLD = 4096;

// reused between calls, since a chart has thousands of buckets
const starts = new Uint32Array(MAX_BINS + 1);
const wanted = new Uint8Array(MAX_BINS);

/**
 * Returns the values at given ranks of the sorted order without sorting all values. Counts values in bins of equal width,
 * and then searches only the bins that contain a rank. Takes expected linear time for any distribution, and allocates
 * no memory per value.
 *
 * @param values at least one, all finite; reordered in place
 * @param ranks ascending, from 0 to one less than the number of values
 * @param min the smallest value
 * @param max the largest value
 * @param check called between passes over the values; may throw
 */
export function valuesAt(
  values: Float64Array,
  ranks: readonly number[],
  min: number,
  max: number,
  check: () => void = () => {},
): number[] {
  if (min === max) return ranks.map(() => min);
  const bins = Math.min(MAX_BINS, Math.ceil(values.length / VALUES_PER_BIN));
  const scale = (bins - 1) / (max - min);
  if (values.length < SORT_THRESHOLD) {
    sort(values);
    return ranks.map((rank) => values[rank] as number);
  }
  // the range is too narrow or too wide to divide into bins
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) return valuesOfRanks(values, ranks, check);

  // rounding is monotonic, so bins are in the order of their values
  starts.fill(0, 0, bins + 1);
  for (let i = 0; i < values.length; i++) (starts[((((values[i] as number) - min) * scale) | 0) + 1] as number)++;
  for (let bin = 0; bin < bins; bin++) (starts[bin + 1] as number) += starts[bin] as number;
  check();

  wanted.fill(0, 0, bins);
  let wantedBefore = 0; // values in wanted bins below the current one
  const ranksAmongWanted: number[] = [];
  for (let i = 0, bin = 0; i < ranks.length; i++) {
    const rank = ranks[i] as number;
    while ((starts[bin + 1] as number) <= rank) {
      if (wanted[bin] === 1) wantedBefore += (starts[bin + 1] as number) - (starts[bin] as number);
      bin++;
    }
    wanted[bin] = 1;
    ranksAmongWanted.push(wantedBefore + rank - (starts[bin] as number));
  }
  // move the values of the wanted bins to the front
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (wanted[((value - min) * scale) | 0] === 0) continue;
    values[i] = values[size] as number;
    values[size++] = value;
  }
  check();
  const part = values.subarray(0, size);
  if (size > BIN_SORT_THRESHOLD) return valuesOfRanks(part, ranksAmongWanted, check);
  sort(part);
  return ranksAmongWanted.map((rank) => part[rank] as number);
}

/** Returns the values at ascending ranks. Reorders the values. */
function valuesOfRanks(values: Float64Array, ranks: readonly number[], check: () => void): number[] {
  let from = 0;
  return ranks.map((rank) => {
    const value = nthSmallest(values.subarray(from), rank - from, check);
    from = rank; // values before it are not greater, and irrelevant to later ranks
    return value;
  });
}

/**
 * Returns the value at an index of the sorted order. Reorders the values so that this value is at its index and no value
 * before it is greater. Uses quickselect with random pivots, which avoids quadratic time on adversarial orders, and
 * three-way partitioning, which avoids it on equal values.
 *
 * @param check called before each pass over the values; may throw
 */
export function nthSmallest(values: Float64Array, index: number, check: () => void): number {
  let first = 0;
  let last = values.length - 1;
  while (last - first >= SORT_THRESHOLD) {
    check();
    const pivot = values[first + Math.floor(Math.random() * (last - first + 1))] as number;
    let below = first; // start of the values equal to the pivot
    let above = last; // end of the values equal to the pivot
    for (let i = first; i <= above; ) {
      const value = values[i] as number;
      if (value < pivot) {
        values[i++] = values[below] as number;
        values[below++] = value;
      } else if (value > pivot) {
        values[i] = values[above] as number;
        values[above--] = value;
      } else i++;
    }
    if (index < below) last = below - 1;
    else if (index > above) first = above + 1;
    else return pivot;
  }
  sort(values.subarray(first, last + 1));
  return values[index] as number;
}

/** Sorts values in place. For few values, insertion sort is faster than the built-in sort. */
function sort(values: Float64Array): void {
  if (values.length > INSERTION_SORT_THRESHOLD) {
    values.sort();
    return;
  }
  for (let i = 1; i < values.length; i++) {
    const value = values[i] as number;
    let at = i;
    for (; at > 0 && (values[at - 1] as number) > value; at--) values[at] = values[at - 1] as number;
    values[at] = value;
  }
}
