import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';

/** Names in `column_state`: the first and the last `seq` between which rows were blanked and not yet reclaimed. */
export const BLANKED: Readonly<Record<Kind, { first: string; last: string }>> = {
  metric: { first: 'blanked_first_metric', last: 'blanked_last_metric' },
  analytics: { first: 'blanked_first_analytics', last: 'blanked_last_analytics' },
};

/**
 * Records, in the caller's transaction, that rows from one `seq` to another were blanked, so that reclaimSpace() (reclaiming.ts)
 * looks for runs there.
 */
export function addBlanked(client: Database, kind: Kind, first: number, last: number): void {
  const set = (name: string, value: number, merge: 'min' | 'max') =>
    client
      .query(
        `INSERT INTO column_state (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = ${merge}(value, excluded.value)`,
      )
      .run(name, value);
  set(BLANKED[kind].first, first, 'min');
  set(BLANKED[kind].last, last, 'max');
}

/** Returns the range that {@link addBlanked} has recorded; undefined if there is none. */
export function readBlanked(client: Database, kind: Kind): { first: number; last: number } | undefined {
  const read = (name: string) =>
    client.query<{ value: number }, [string]>('SELECT value FROM column_state WHERE name = ?').get(name)?.value;
  const [first, last] = [read(BLANKED[kind].first), read(BLANKED[kind].last)];
  return first === undefined || last === undefined ? undefined : { first, last };
}

/** Size of a blank row with its cell pointer, in bytes: a payload length, a `seq` of 8 bytes, and a header of 9. */
const BLANK_CELL_BYTES = 20;
/** Number of pages filled by the blank rows that each end of a run keeps: more than the two that can be rebalanced. */
const GUARD_PAGES = 5;

/** Returns the number of blank rows that each end of a run keeps when the others are deleted: see reclaiming.ts. */
export function readGuardRows(client: Database): number {
  const { pageSize = 0 } =
    client.query<{ pageSize: number }, []>('SELECT page_size AS pageSize FROM pragma_page_size').get() ?? {};
  return GUARD_PAGES * Math.ceil(pageSize / BLANK_CELL_BYTES);
}
