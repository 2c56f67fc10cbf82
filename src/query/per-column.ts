import type { PropertyValue } from '../properties.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import type { Budget } from './budget.ts';

/** Numbers per distinct value of a column. */
type Numbers = Uint8Array | Uint32Array | Float64Array;

/**
 * Creates a function that maps each distinct value of a column to a number. A query scans its chunks several times; the
 * numbers are kept, so that the values of a stored column are decoded only once.
 *
 * @param allocate creates the array of the numbers
 */
export function perColumn<Result extends Numbers>(
  allocate: (size: number) => Result,
  numberOf: (value: PropertyValue) => number,
  budget: Budget,
): (column: PropertyColumn) => Result {
  const numbers = createNumbersByColumn(allocate, budget);
  return (column) => {
    const { of, known } = numbers(column);
    if (known === column.size) return of;
    budget.check();
    const { values } = column;
    for (let code = known; code < column.size; code++) of[code] = numberOf(values[code] as PropertyValue);
    return of;
  };
}

/**
 * Creates a function that returns an array with one number per distinct value of a column, which is the same for all parts
 * of the column, and how many of the numbers it contained before. A column that is being built gets more values.
 */
export function createNumbersByColumn<Result extends Numbers>(
  allocate: (size: number) => Result,
  budget: Budget,
): (column: PropertyColumn) => { readonly of: Result; readonly known: number } {
  const stored = new Map<string, Result>();
  const built = new WeakMap<object, Result>();
  return ({ id, size }) => {
    const found = typeof id === 'string' ? stored.get(id) : built.get(id);
    if (found?.length === size) return { of: found, known: size };
    const numbers = allocate(size);
    if (found) numbers.set(found);
    if (typeof id === 'string') {
      budget.reserve(numbers.byteLength);
      stored.set(id, numbers);
    } else built.set(id, numbers);
    return { of: numbers, known: found?.length ?? 0 };
  };
}
