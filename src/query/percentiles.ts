/** Fewer values than this are simply sorted. */
const SORTED_AT_ONCE = 64;
/** At most so many are sorted by insertion. */
const SORTED_BY_INSERTION = 32;
/** Values per bin, about, and the largest number of bins. */
const VALUES_PER_BIN = 8;
const MOST_BINS = 2048;
/** So many values of the bins that hold a rank are sorted at once: about 0.2 ms. */
const SORTED_OF_BINS = 4096;

// reused by each call: a chart has thousands of buckets
const starts = new Uint32Array(MOST_BINS + 1);
const wanted = new Uint8Array(MOST_BINS);

/**
 * Returns the values of some ranks, as if all values were sorted, without sorting all: values are counted in
 * bins of equal width, and only the bins that hold a rank are looked at further. Takes time proportional to
 * the number of values, whatever their distribution, and no memory.
 *
 * @param values at least one, finite; they are reordered
 * @param ranks rising, from 0 to one less than there are values
 * @param min the least of the values
 * @param max the greatest
 * @param check called between passes over the values; may throw
 */
export function valuesAt(
  values: Float64Array,
  ranks: readonly number[],
  min: number,
  max: number,
  check: () => void = () => {},
): number[] {
  const bins = Math.min(MOST_BINS, Math.ceil(values.length / VALUES_PER_BIN));
  const scale = (bins - 1) / (max - min);
  if (values.length < SORTED_AT_ONCE) {
    sort(values);
    return ranks.map((rank) => values[rank] as number);
  }
  // all are equal, or their range is too narrow or too wide to be divided
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) return valuesOfRanks(values, ranks, check);

  // rounding treats equal values alike and never swaps two, so that the bins are in order
  starts.fill(0, 0, bins + 1);
  for (let i = 0; i < values.length; i++) (starts[((((values[i] as number) - min) * scale) | 0) + 1] as number)++;
  for (let bin = 0; bin < bins; bin++) (starts[bin + 1] as number) += starts[bin] as number;
  check();

  wanted.fill(0, 0, bins);
  let before = 0; // values in bins that hold a rank, below the bin at hand
  const ranksAmongWanted: number[] = [];
  for (let i = 0, bin = 0; i < ranks.length; i++) {
    const rank = ranks[i] as number;
    while ((starts[bin + 1] as number) <= rank) {
      if (wanted[bin] === 1) before += (starts[bin + 1] as number) - (starts[bin] as number);
      bin++;
    }
    wanted[bin] = 1;
    ranksAmongWanted.push(before + rank - (starts[bin] as number));
  }
  // the values of those bins come first
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (wanted[((value - min) * scale) | 0] === 0) continue;
    values[i] = values[size] as number;
    values[size++] = value;
  }
  check();
  const part = values.subarray(0, size);
  if (size > SORTED_OF_BINS) return valuesOfRanks(part, ranksAmongWanted, check);
  sort(part);
  return ranksAmongWanted.map((rank) => part[rank] as number);
}

/** Returns the values of some rising ranks; the values are reordered. */
function valuesOfRanks(values: Float64Array, ranks: readonly number[], check: () => void): number[] {
  let from = 0;
  return ranks.map((rank) => {
    const value = nthSmallest(values.subarray(from), rank - from, check);
    from = rank; // what comes before is not greater, and of no interest to later ranks
    return value;
  });
}

/**
 * Returns the value that would be at a place after a sort; the values are reordered, so that it is there and
 * none before it is greater. Quickselect with random pivots, so that no order of values makes it slow, and
 * three parts, so that equal values do not.
 *
 * @param check called before each pass over the values; may throw
 */
export function nthSmallest(values: Float64Array, place: number, check: () => void): number {
  let first = 0;
  let last = values.length - 1;
  while (last - first >= SORTED_AT_ONCE) {
    check();
    const pivot = values[first + Math.floor(Math.random() * (last - first + 1))] as number;
    let below = first; // where the values equal to the pivot begin
    let above = last; // where they end
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
    if (place < below) last = below - 1;
    else if (place > above) first = above + 1;
    else return pivot;
  }
  sort(values.subarray(first, last + 1));
  return values[place] as number;
}

/** Sorts values. For few of them, a sort by insertion takes less time than the built-in one. */
function sort(values: Float64Array): void {
  if (values.length > SORTED_BY_INSERTION) {
    values.sort();
    return;
  }
  for (let i = 1; i < values.length; i++) {
    const value = values[i] as number;
    let place = i;
    for (; place > 0 && (values[place - 1] as number) > value; place--) values[place] = values[place - 1] as number;
    values[place] = value;
  }
}
