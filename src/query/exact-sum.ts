/** The sum and the mean of some values. */
export interface ExactSum {
  /** The exact sum, rounded once; at most the largest double, with its sign. */
  readonly sum: number;
  /** Whether the exact sum is beyond the largest double. */
  readonly overflow: boolean;
  /** The exact sum divided by the number of values, within one unit in the last place. */
  readonly mean: number;
}

/** Values between two checks where they are summed one by one: about 0.3 ms. */
const VALUES_AT_ONCE = 4096;
/** Makes sums that overflow finite: there are fewer than 2^64 values. */
const DOWN = 2 ** -64;

/**
 * Sums values exactly. Both results depend on the set of values only, not on their order.
 *
 * The sum is kept as three doubles, by the error-free addition of Knuth (two-sum), which takes about 1.5 ns
 * per value and holds about 159 bits: enough for what people measure. Only where even that would round, or
 * overflows, all is added again by `Math.sumPrecise`, which takes about 36 ns per value.
 *
 * @param values at least one, finite
 * @param check called every few thousand values; may throw
 */
export function exactSum(values: Float64Array, check: () => void): ExactSum {
  const parts = threeParts(values);
  const terms: Terms = parts ? (extra) => [...parts, extra] : (extra) => each(values, 1, extra, check);
  const { sum, mean } = sumOf(terms, values.length);
  if (Number.isFinite(sum)) return { sum: sum + 0, overflow: false, mean: mean + 0 };
  // rounds only values that are so small that they cannot matter beside a sum that large
  const scaled = sumOf((extra) => each(values, DOWN, extra, check), values.length);
  return { sum: Math.sign(sum) * Number.MAX_VALUE, overflow: true, mean: scaled.mean / DOWN };
}

/** Three doubles whose exact sum is that of the values; undefined where there are none, or none were found. */
function threeParts(values: Float64Array): [number, number, number] | undefined {
  let sum = 0;
  let error = 0;
  let rest = 0;
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
    const nextRest = rest + lostError;
    const addedRest = nextRest - rest;
    // not a number where the sum has overflowed
    if (rest - (nextRest - addedRest) + (lostError - addedRest) !== 0) return undefined;
    rest = nextRest;
  }
  return [sum, error, rest];
}

/** Terms that add up to the sum, and one more. */
type Terms = (extra: number) => Iterable<number>;

function* each(values: Float64Array, factor: number, extra: number, check: () => void): Generator<number> {
  for (let i = 0; i < values.length; i++) {
    if (i % VALUES_AT_ONCE === 0) check();
    yield (values[i] as number) * factor;
  }
  yield extra;
}

/** The sum of terms, rounded once, and the sum divided by a number. */
function sumOf(terms: Terms, count: number): { sum: number; mean: number } {
  const sum = preciseSum(() => terms(0));
  if (!Number.isFinite(sum)) return { sum, mean: sum };
  const quotient = sum / count;
  // what the quotient leaves of the sum
  const left = [sum, preciseSum(() => terms(-sum)), ...product(-quotient, count)];
  return { sum, mean: quotient + preciseSum(() => left) / count };
}

/** Terms that add up to the exact product of a number and a count. */
function product(number: number, count: number): number[] {
  if (count < 2 ** 26 && Math.abs(number) < 2 ** 900) {
    // Veltkamp's split: the high part has 26 bits and the low one 27, so that the products are exact
    const scaled = number * (2 ** 27 + 1);
    const high = scaled - (scaled - number);
    return [high * count, (number - high) * count];
  }
  // a power of two for each bit of the count
  const terms = [];
  for (let bit = 1; bit <= count; bit *= 2) if (Math.floor(count / bit) % 2 === 1) terms.push(number * bit);
  return terms;
}

/**
 * The sum of terms, rounded once. Bun 1.4.5's `Math.sumPrecise` is off by one unit in the last place whenever the
 * result is negative, also for a single value: those sums are taken of the negated terms.
 */
function preciseSum(terms: () => Iterable<number>): number {
  const sum = Math.sumPrecise(terms());
  return sum < 0 ? -Math.sumPrecise(negated(terms())) : sum;
}

function* negated(terms: Iterable<number>): Generator<number> {
  for (const term of terms) yield -term;
}
