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
/** From this number of values, two sums are computed at once, which takes a third of the time. */
const MIN_PAIRED_VALUES = 32;
/** Factor that keeps any sum finite, since there are fewer than 2^64 values. */
const SCALE_DOWN = 2 ** -64;

/** Three doubles that stand for their exact sum. */
type Parts = [number, number, number];

/** Which values to sum. */
interface Summed {
  /** The first value, and the end. Default: all. */
  readonly start?: number;
  readonly end?: number;
  /** The number of values, if some of them stand for the sum of several: see {@link sumInThreeParts}. */
  readonly count?: number;
}

/**
 * Sums values exactly. The results depend only on the values, not on their order.
 *
 * The sum is held in three doubles by Knuth's error-free addition (two-sum), which provides about 159 bits, enough for
 * typical measurements. It takes 3 to 5 ns per value. If even that would round or overflow, the values are summed
 * again by `Math.sumPrecise`, which takes about 36 ns per value.
 *
 * @param values at least one, all finite
 * @param check called every few thousand values; may throw
 */
export function exactSum(
  values: Float64Array,
  check: () => void,
  { start = 0, end = values.length, count = end - start }: Summed = {},
): ExactSum {
  const pairs = end - start < MIN_PAIRED_VALUES ? undefined : sumInPairs(values, start, end);
  const parts = pairs ? sumInThreeParts(pairs) : sumInThreeParts(values, start, end);
  const rounded = parts && roundParts(parts, count);
  if (rounded) return rounded;
  const part = values.subarray(start, end);
  const terms: Terms = parts ? (extra) => [...parts, extra] : (extra) => scaledTerms(part, 1, extra, check);
  const { sum, mean } = sumOf(terms, count);
  if (Number.isFinite(sum)) return { sum: sum + 0, overflow: false, mean: mean + 0 };
  // scaling rounds only values too small to matter next to a sum this large
  const scaled = sumOf((extra) => scaledTerms(part, SCALE_DOWN, extra, check), count);
  return { sum: Math.sign(sum) * Number.MAX_VALUE, overflow: true, mean: scaled.mean / SCALE_DOWN };
}

/** Sums of at least and less than this magnitude are rounded without `Math.sumPrecise`: nothing overflows or underflows. */
const ROUNDED = { min: 2 ** -900, max: 2 ** 900, count: 2 ** 26 };

/**
 * Returns the sum of three doubles, rounded once, and the mean: as {@link sumOf}, in a tenth of the time. Returns undefined
 * for magnitudes for which the steps could overflow or underflow.
 *
 * Repeated error-free additions (two-sum) leave a sum and a remainder of at most half a unit in its last place. If it is
 * exactly half, the rest decides (as in Python's `math.fsum`).
 */
function roundParts([a, b, c]: Parts, count: number): ExactSum | undefined {
  if (a === 0 && b === 0 && c === 0) return { sum: 0, overflow: false, mean: 0 };
  const bc = b + c;
  const addedC = bc - b;
  const lostC = b - (bc - addedC) + (c - addedC);
  const abc = a + bc;
  const addedBc = abc - a;
  const lostBc = a - (abc - addedBc) + (bc - addedBc);
  const lost = lostBc + lostC;
  const addedLost = lost - lostBc;
  const least = lostBc - (lost - addedLost) + (lostC - addedLost);
  let sum = abc + lost;
  const half = lost - (sum - abc);
  let rest = half + least; // the exact sum minus `sum`, rounded once
  const addedLeast = rest - half;
  const beyond = half - (rest - addedLeast) + (least - addedLeast);
  if ((rest > 0 && beyond > 0) || (rest < 0 && beyond < 0)) {
    const next = sum + 2 * rest;
    if (next - sum === 2 * rest) [sum, rest] = [next, beyond - rest];
  }
  const size = Math.abs(sum);
  if (!(size >= ROUNDED.min && size < ROUNDED.max && count < ROUNDED.count)) return undefined;
  const quotient = sum / count;
  // the error of a division is a double, and so are the steps that compute it (Dekker): each product is close to the sum
  const [high, low] = split(quotient);
  const divisionError = sum - high * count - low * count;
  return { sum, overflow: false, mean: quotient + (divisionError + rest) / count };
}

/** Splits a number into 26 high bits and 27 low bits (Veltkamp), whose products with a number below 2^26 are exact. */
function split(number: number): [high: number, low: number] {
  const scaled = number * (2 ** 27 + 1);
  const high = scaled - (scaled - number);
  return [high, number - high];
}

/** Returns three doubles whose exact sum is the sum of the values; undefined if they do not suffice. */
export function sumInThreeParts(values: Float64Array, start = 0, end = values.length): Parts | undefined {
  let sum = 0;
  let error = 0;
  let residual = 0;
  for (let i = start; i < end; i++) {
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

/**
 * Returns a few doubles whose exact sum is the sum of the values; undefined if they do not suffice. Sums the values at even and
 * at odd places, each as {@link sumInThreeParts}, so that the processor computes both at once.
 */
function sumInPairs(values: Float64Array, start: number, end: number): Float64Array | undefined {
  let evenSum = 0;
  let oddSum = 0;
  let evenError = 0;
  let oddError = 0;
  let evenResidual = 0;
  let oddResidual = 0;
  let i = start;
  for (; i + 1 < end; i += 2) {
    const even = values[i] as number;
    const odd = values[i + 1] as number;
    const evenTotal = evenSum + even;
    const oddTotal = oddSum + odd;
    const evenAdded = evenTotal - evenSum;
    const oddAdded = oddTotal - oddSum;
    const evenLost = evenSum - (evenTotal - evenAdded) + (even - evenAdded);
    const oddLost = oddSum - (oddTotal - oddAdded) + (odd - oddAdded);
    evenSum = evenTotal;
    oddSum = oddTotal;
    const nextEven = evenError + evenLost;
    const nextOdd = oddError + oddLost;
    const evenAddedError = nextEven - evenError;
    const oddAddedError = nextOdd - oddError;
    const evenRest = evenError - (nextEven - evenAddedError) + (evenLost - evenAddedError);
    const oddRest = oddError - (nextOdd - oddAddedError) + (oddLost - oddAddedError);
    evenError = nextEven;
    oddError = nextOdd;
    if (evenRest !== 0) {
      const nextResidual = evenResidual + evenRest;
      const added = nextResidual - evenResidual;
      // NaN if the sum has overflowed
      if (evenResidual - (nextResidual - added) + (evenRest - added) !== 0) return undefined;
      evenResidual = nextResidual;
    }
    if (oddRest !== 0) {
      const nextResidual = oddResidual + oddRest;
      const added = nextResidual - oddResidual;
      if (oddResidual - (nextResidual - added) + (oddRest - added) !== 0) return undefined;
      oddResidual = nextResidual;
    }
  }
  const last = i < end ? (values[i] as number) : 0;
  return Float64Array.of(evenSum, oddSum, last, evenError, oddError, evenResidual, oddResidual);
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
    const [high, low] = split(number);
    return [high * count, low * count];
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
