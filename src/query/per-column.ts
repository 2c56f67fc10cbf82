import type { PropertyValue } from '../properties.ts';
import type { PropertyColumn } from '../storage/columns/property-column.ts';
import type { Budget } from './budget.ts';

/** Numbers per distinct value of a column. */
type Numbers = Uint8Array | Uint32Array;

/**
 * Creates a function that maps the distinct values of a column to numbers. A query scans its chunks several times; the
 * numbers of stored columns are kept, so that their values are decoded only once.
 */
export function perColumn<Result extends Numbers>(
  map: (values: readonly PropertyValue[]) => Result,
  budget: Budget,
): (column: PropertyColumn) => Result {
  const stored = new Map<string, Result>();
  const others = new WeakMap<readonly PropertyValue[], Result>();
  return (column) => {
    if (column.id !== undefined) {
      const known = stored.get(column.id);
      if (known) return known;
      const numbers = map(column.values);
      budget.reserve(numbers.byteLength);
      stored.set(column.id, numbers);
      return numbers;
    }
    // columns that are being built share their values while rows are added
    const { values } = column;
    const known = others.get(values);
    if (known?.length === values.length) return known;
    const numbers = map(values);
    others.set(values, numbers);
    return numbers;
  };
}
