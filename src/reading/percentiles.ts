/** Fewer values than this are simply sorted. */
const SORTED_AT_ONCE = 4096;
/** Bins into which values are counted by their size. */
const BINS = 1024;

/**
 * Finds values by their rank, as if all were sorted, without sorting all: values are counted in bins of
 * equal width, and only the bins in which a rank lies are sorted. Where values are spread it takes a
 * fraction of the time of a sort, and as much where nearly all are in one bin.
 *
 * @param values at least one, finite; their order may change
 * @param ranks from 0 to one less than there are values
 * @param min the least of the values
 * @param max the greatest
 */
export function valuesAt(values: Float64Array, ranks: readonly number[], min: number, max: number): number[] {
  const scale = (BINS - 1) / (max - min);
  // where all are equal, or their range is too narrow or too wide to be divided
  if (values.length < SORTED_AT_ONCE || !(scale > 0 && scale < Number.POSITIVE_INFINITY)) {
    values.sort();
    return ranks.map((rank) => values[rank] as number);
  }
  // rounding is the same for equal values, and never turns the order of two round: so bins are in order
  const counts = new Uint32Array(BINS);
  for (let i = 0; i < values.length; i++) (counts[(((values[i] as number) - min) * scale) | 0] as number)++;
  const starts = new Uint32Array(BINS + 1);
  for (let bin = 0; bin < BINS; bin++) starts[bin + 1] = (starts[bin] as number) + (counts[bin] as number);

  const binOfRank = ranks.map((rank) => {
    let bin = 0;
    while ((starts[bin + 1] as number) <= rank) bin++;
    return bin;
  });
  const wanted = new Map<number, Float64Array>();
  for (const bin of binOfRank) wanted.set(bin, new Float64Array(counts[bin] as number));
  const isWanted = new Uint8Array(BINS);
  for (const bin of wanted.keys()) isWanted[bin] = 1;
  const filled = new Uint32Array(BINS);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const bin = ((value - min) * scale) | 0;
    if (isWanted[bin] === 1) (wanted.get(bin) as Float64Array)[(filled[bin] as number)++] = value;
  }
  for (const part of wanted.values()) part.sort();
  return ranks.map((rank, i) => {
    const bin = binOfRank[i] as number;
    return (wanted.get(bin) as Float64Array)[rank - (starts[bin] as number)] as number;
  });
}
