import { type ExactSum, exactSum } from '../../storage/columns/exact-sum.ts';
import type { Budget } from '../budget.ts';
import { growInto } from '../number-index.ts';
import type { Connection } from './connection.ts';
import { integer, type Sql, sql } from './sql.ts';
import type { Targets } from './targets.ts';

/*
 * The values of each target, divided into bins by the highest bits of their IEEE 754 representation: the sign, the exponent
 * and the first bits of the mantissa. A bin yields the exact sum of its values, since all of them are multiples of
 * the same power of two, and it narrows down where a percentile is.
 */

/** Bits of the mantissa, without the implicit one. */
const MANTISSA_BITS = 52;
/** Bits of the sign and the exponent. */
const EXPONENT_BITS = 12;
/** The mantissa is summed in three parts of at most 18 bits, so that sums of 2^35 values are exact as doubles. */
const PART_BITS = 18;
/** Number of bins that a query aims at, and how many powers of two the values of a metric typically span. */
const WANTED_BINS = 2 ** 18;
const TYPICAL_EXPONENTS = 8;
const MAX_DETAIL_BITS = 10;
/** The fields of a bin. */
const FIELDS = 6;

/** The expression for the representation of a value as an integer. ClickHouse 18.16 reads it from a string only. */
const BITS = sql`reinterpretAsUInt64(reinterpretAsString(metric_value))`;

/** The bins of all targets, by target, and in the order of their values. */
export class ValueBins {
  readonly #budget: Budget;
  /** The number of bits of the mantissa that select a bin. */
  readonly detailBits: number;
  #size = 0;
  /** For each bin: its target and its number. */
  #targets = new Uint32Array(1024);
  #numbers = new Float64Array(1024);
  /** For each bin: the number of values, three sums, the smallest and the largest value. */
  #fields = new Float64Array(1024 * FIELDS);

  constructor(detailBits: number, budget: Budget) {
    this.detailBits = detailBits;
    this.#budget = budget;
  }

  add(target: number, number: number, fields: readonly number[]): void {
    if (this.#size === this.#targets.length) {
      this.#budget.reserve((4 + 8 + 8 * FIELDS) * this.#size);
      this.#targets = growInto(this.#targets, new Uint32Array(2 * this.#size));
      this.#numbers = growInto(this.#numbers, new Float64Array(2 * this.#size));
      this.#fields = growInto(this.#fields, new Float64Array(2 * FIELDS * this.#size));
    }
    this.#targets[this.#size] = target;
    this.#numbers[this.#size] = number;
    this.#fields.set(fields, FIELDS * this.#size);
    this.#size++;
  }

  /** Yields the targets that have values, and their bins. */
  *targets(): Generator<{ readonly target: number; readonly first: number; readonly end: number }> {
    for (let first = 0, end = 0; first < this.#size; first = end) {
      const target = this.#targets[first] as number;
      while (end < this.#size && this.#targets[end] === target) end++;
      yield { target, first, end };
    }
  }

  numberOf(bin: number): number {
    return this.#numbers[bin] as number;
  }

  countOf(bin: number): number {
    return this.#fields[FIELDS * bin] as number;
  }

  minOf(bin: number): number {
    return this.#fields[FIELDS * bin + 4] as number;
  }

  maxOf(bin: number): number {
    return this.#fields[FIELDS * bin + 5] as number;
  }

  /** Adds numbers to a list that add up to the exact sum of a bin's values. */
  addTerms(bin: number, terms: number[]): void {
    const number = this.numberOf(bin);
    const exponentAndSign = Math.floor(number / 2 ** this.detailBits);
    const sign = exponentAndSign >= 2 ** (EXPONENT_BITS - 1) ? -1 : 1;
    const exponent = exponentAndSign % 2 ** (EXPONENT_BITS - 1);
    // subnormal numbers have the scale of the smallest exponent, but no implicit bit
    const scale = Math.max(exponent, 1) - 1075;
    for (let part = 0; part < 3; part++) {
      let sum = this.#fields[FIELDS * bin + 1 + part] as number;
      if (part === 2 && exponent > 0) sum += this.countOf(bin) * 2 ** (MANTISSA_BITS - 2 * PART_BITS);
      const factor = scale + part * PART_BITS;
      // a term has to be finite: near the largest double, it is split
      const largest = factor > 960 ? 2 ** (1023 - factor) : Number.POSITIVE_INFINITY;
      for (; sum > 0; sum -= Math.min(sum, largest)) terms.push(sign * scaleBy(Math.min(sum, largest), factor));
    }
  }
}

/** Returns a number times a power of two. The power alone can be too small for a double. */
function scaleBy(value: number, exponent: number): number {
  return exponent < -1000 ? value * 2 ** -1000 * 2 ** (exponent + 1000) : value * 2 ** exponent;
}

/** Returns how many bits of the mantissa select a bin. */
function detailFor(targets: number): number {
  const bits = Math.floor(Math.log2(WANTED_BINS / TYPICAL_EXPONENTS / targets));
  return Math.min(Math.max(bits, 0), MAX_DETAIL_BITS);
}

/** The expression for a target and the number of a bin as one integer: the target is the quotient. */
export function binKey({ ofRow }: Targets, detailBits: number): Sql {
  const factor = integer(binsOf(detailBits));
  return sql`toInt64(arrayJoin(${ofRow})) * ${factor} + toInt64(bitShiftRight(${BITS}, ${integer(MANTISSA_BITS - detailBits)}))`;
}

/** The number of possible bins. */
export function binsOf(detailBits: number): number {
  return 2 ** (EXPONENT_BITS + detailBits);
}

/** Reads the bins of all targets. */
export async function readBins({ rows, budget }: Connection, targets: Targets): Promise<ValueBins> {
  const detailBits = detailFor(targets.size);
  const bins = new ValueBins(detailBits, budget);
  const part = (from: number, bits: number) =>
    sql`sum(bitAnd(bitShiftRight(${BITS}, ${integer(from)}), ${integer(2 ** bits - 1)}))`;
  const factor = binsOf(detailBits);
  const blocks = rows(
    sql`SELECT ${binKey(targets, detailBits)} AS key, count(), ${part(0, PART_BITS)}, ${part(PART_BITS, PART_BITS)},
        ${part(2 * PART_BITS, MANTISSA_BITS - 2 * PART_BITS)}, min(metric_value) AS low, max(metric_value) AS high
      FROM ${targets.source} GROUP BY key ORDER BY intDiv(key, ${integer(factor)}), low, high`,
    {
      ...{ key: 'integer', count: 'integer', low: 'integer', middle: 'integer', high: 'integer' },
      ...{ min: 'double', max: 'double' },
    },
  );
  for await (const block of blocks) {
    budget.check();
    for (const { key, count, low, middle, high, min, max } of block)
      bins.add(Math.floor(key / factor), key % factor, [count, low, middle, high, min, max]);
  }
  return bins;
}

/** Returns the statistics of consecutive bins of a target, except for percentiles. */
export function sumOfBins(
  bins: ValueBins,
  first: number,
  end: number,
  budget: Budget,
): { count: number; min: number; max: number; sum: ExactSum } {
  const terms: number[] = [];
  let count = 0;
  for (let bin = first; bin < end; bin++) {
    count += bins.countOf(bin);
    bins.addTerms(bin, terms);
  }
  if (end - first > 64) budget.check();
  return {
    count,
    min: bins.minOf(first),
    max: bins.maxOf(end - 1),
    sum: exactSum(Float64Array.from(terms), budget.check, { count }),
  };
}
