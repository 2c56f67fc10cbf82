import { sumInThreeParts } from './exact-sum.ts';
import type { Hours } from './summary.ts';

/**
 * Merges the values of hours.
 *
 * @param starts hours since 1970, ascending: hours are merged up to the first of them, from each to the next, and from the last
 * @returns an entry for each of these parts that has values, with the number of its first hour
 */
export function mergeHours(hours: Hours, starts: readonly number[]): Hours {
  const { numbers } = hours;
  const firsts: number[] = []; // the first entry of each part
  for (let h = 0, next = 0; h < numbers.length; h++) {
    let isFirst = h === 0;
    for (; next < starts.length && (starts[next] as number) <= (numbers[h] as number); next++) isFirst = true;
    if (isFirst) firsts.push(h);
  }
  const rows = hours.starts.reduce((sum, start, h) => sum + (hours.ends[h] as number) - start, 0);
  const merged = {
    numbers: Int32Array.from(firsts, (h) => numbers[h] as number),
    starts: new Uint32Array(firsts.length),
    ends: new Uint32Array(firsts.length),
    sums: new Float64Array(3 * firsts.length),
    sorted: new Float64Array(rows),
  };
  for (let part = 0, end = 0; part < firsts.length; part++) {
    const [first, last] = [firsts[part] as number, firsts[part + 1] ?? numbers.length];
    merged.starts[part] = end;
    end = copyHours(hours, first, last, merged.sorted, end);
    merged.ends[part] = end;
    const values = merged.sorted.subarray(merged.starts[part], end);
    if (last - first > 1) values.sort();
    const parts = hours.sums.subarray(3 * first, 3 * last);
    const sum = sumInThreeParts(parts) ?? sumInThreeParts(values); // NaN if the sum of an hour did not fit
    merged.sums.set(sum && !sum.some(Number.isNaN) ? sum : [Number.NaN, Number.NaN, Number.NaN], 3 * part);
  }
  return merged;
}

/** Copies the values of the hours from `first` to `last`, exclusive, to a place. Returns where they end. */
function copyHours({ starts, ends, sorted }: Hours, first: number, last: number, to: Float64Array, place: number) {
  let at = place;
  for (let h = first; h < last; h++) {
    const values = sorted.subarray(starts[h], ends[h]);
    to.set(values, at);
    at += values.length;
  }
  return at;
}
