import { type PropertyPath, propertyOf } from '../../properties.ts';
import { ColumnBuilder, type PropertyColumn } from './property-column.ts';

/** Memory of a column's distinct values beyond which it is not stored, and its values are passed on part by part. */
const MAX_VALUE_BYTES = 16 * 1024 * 1024;
/** Rows for which a builder has room at first. */
const FIRST_ROWS = 8_192;

/** Columns that are built from the rows of a chunk. */
export class ColumnBuild {
  readonly paths: readonly PropertyPath[];
  readonly #builders: ColumnBuilder[];
  /** The first row of each builder. It is greater than 0 if the values of earlier rows took too much memory. */
  readonly #firstRows: number[];

  /** @param builders columns to continue, by path */
  constructor(paths: readonly PropertyPath[], builders: readonly (ColumnBuilder | undefined)[] = []) {
    this.paths = paths;
    this.#builders = paths.map((_, p) => builders[p] ?? new ColumnBuilder(FIRST_ROWS));
    this.#firstRows = paths.map(() => 0);
  }

  /** Call before the rows of a part are set. Drops the values of earlier parts if they take too much memory. */
  beginPart(start: number): void {
    for (const [p, { bytes }] of this.#builders.entries()) {
      if (bytes <= MAX_VALUE_BYTES) continue;
      this.#builders[p] = new ColumnBuilder(FIRST_ROWS);
      this.#firstRows[p] = start;
    }
  }

  /** Sets the values of a row, given its parsed data. */
  set(row: number, data: unknown): void {
    for (let p = 0; p < this.paths.length; p++) {
      const value = propertyOf(data, this.paths[p] as PropertyPath);
      (this.#builders[p] as ColumnBuilder).set(row - (this.#firstRows[p] as number), value);
    }
  }

  /** Returns the columns of the rows of a part. */
  columns(start: number, stop: number): PropertyColumn[] {
    return this.#builders.map((builder, p) => {
      const first = this.#firstRows[p] as number;
      return builder.column(start - first, stop - first);
    });
  }

  /** Returns the builder of a path if it has the values of all rows and is small enough to be kept. */
  complete(p: number): ColumnBuilder | undefined {
    const builder = this.#builders[p];
    return builder && this.#firstRows[p] === 0 && builder.bytes <= MAX_VALUE_BYTES ? builder : undefined;
  }
}
