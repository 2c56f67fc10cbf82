/** The sum and the mean of a set of values. */
export interface ExactSum {
  /** The exact sum, rounded once. If it overflows, the largest double with its sign. */
  readonly sum: number;
  /** Whether the exact sum exceeds the largest double. */
  readonly overflow: boolean;
  /** The exact sum divided by the number of values, accurate to one unit in the last place. */
  readonly mean: number;
}

/** Values per check when summing with `Math.sumPrecise`: about 0.3 ms. */
const CHECK_INTERVAL = 4096;
/** Factor that keeps any sum finite, since there are fewer than 2^64 values. */
const SCALE_DOWN = 2 ** -64;

/**
 * Sums values exactly. The results depend only on the values, not on their order.
 *
 * The sum is held in three doubles by Knuth's error-free addition (two-sum), which takes about 1.5 ns per value and
 * provides about 159 bits, enough for typical measurements. If even that would round or overflow, the values are summed
 * again by `Math.sumPrecise`, which takes about 36 ns per value.
 *
 * @param values at least one, all finite
 * @param check called every few thousand values; may throw
 * @param count the number of values, if some of `values` stand for the sum of several: see {@link sumInThreeParts}
 */
export function exactSum(values: Float64Array, check: () => void, count = values.length): ExactSum {
  const parts = sumInThreeParts(values);
  const terms: Terms = parts ? (extra) => [...parts, extra] : (extra) => scaledTerms(values, 1, extra, check);
  const { sum, mean } = sumOf(terms, count);
  if (Number.isFinite(sum)) return { sum: sum + 0, overflow: false, mean: mean + 0 };
  // scaling rounds only values too small to matter next to a sum this large
  const scaled = sumOf((extra) => scaledTerms(values, SCALE_DOWN, extra, check), count);
  return { sum: Math.sign(sum) * Number.MAX_VALUE, overflow: true, mean: scaled.mean / SCALE_DOWN };
}

/** Returns three doubles whose exact sum is the sum of the values; undefined if they do not suffice. */
export function sumInThreeParts(values: Float64Array): [number, number, number] | undefined {
  let sum = 0;
  let error = 0;
  let residual = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const total = sum + value;
    const added = total - sum;
    const lost = sum - (total - added) + (value - added);
    sum = total;
    if (lost === 0) continue;
    const nextError = error + lost;
    const addedError = nextError - error;
    const lostError = error - (nextError - addedError) + (lost - addedError);
    error = nextError;
    if (lostError === 0) continue;
    const nextResidual = residual + lostError;
    const addedResidual = nextResidual - residual;
    // NaN if the sum has overflowed
    if (residual - (nextResidual - addedResidual) + (lostError - addedResidual) !== 0) return undefined;
    residual = nextResidual;
  }
  return [sum, error, residual];
}

/** Returns terms that add up to the sum, plus an extra term. */
type Terms = (extra: number) => Iterable<number>;

function* scaledTerms(values: Float64Array, factor: number, extra: number, check: () => void): Generator<number> {
  for (let i = 0; i < values.length; i++) {
    if (i % CHECK_INTERVAL === 0) check();
    yield (values[i] as number) * factor;
  }
  yield extra;
}

/** Returns the sum of terms, rounded once, and the exact sum divided by a number. */
function sumOf(terms: Terms, count: number): { sum: number; mean: number } {
  const sum = preciseSum(() => terms(0));
  if (!Number.isFinite(sum)) return { sum, mean: sum };
  const quotient = sum / count;
  // the exact sum minus quotient × count
  const remainder = [sum, preciseSum(() => terms(-sum)), ...product(-quotient, count)];
  return { sum, mean: quotient + preciseSum(() => remainder) / count };
}

/** Returns terms that add up to the exact product of a number and a count. */
function product(number: number, count: number): number[] {
  if (count < 2 ** 26 && Math.abs(number) < 2 ** 900) {
    // Veltkamp's split into 26 high bits and 27 low bits, so that both products are exact
    const scaled = number * (2 ** 27 + 1);
    const high = scaled - (scaled - number);
    return [high * count, (number - high) * count];
  }
  // one power of two per set bit of the count
  const terms = [];
  for (let bit = 1; bit <= count; bit *= 2) if (Math.floor(count / bit) % 2 === 1) terms.push(number * bit);
  return terms;
}

/**
 * Returns the sum of terms, rounded once. In Bun 1.4.5, `Math.sumPrecise` is off by one unit in the last place whenever
 * the result is negative, even for a single value. Negative sums are therefore computed from negated terms.
 */
function preciseSum(terms: () => Iterable<number>): number {
  const sum = Math.sumPrecise(terms());
  return sum < 0 ? -Math.sumPrecise(negated(terms())) : sum;
}

function* negated(terms: Iterable<number>): Generator<number> {
  for (const term of terms) yield -term;
}
