import type { Database } from 'bun:sqlite';

/** What the lists of erasures and deletions have in common: entries are pending until every file is overwritten. */
export interface Overwriting {
  /** Returns the number of entries that are unfinished, or finished but not yet overwritten in every file. */
  pending(): number;
  /** Returns whether an entry is finished but not yet overwritten in every file. */
  isOverwritingDue(): boolean;
  /** Records, in the caller's transaction, that no database file contains the bytes of finished entries any more. */
  markOverwritten(): void;
}

/**
 * Creates the part of a list that concerns overwriting.
 *
 * @param unfinished the column that is null once an entry is finished
 */
export function createOverwriting(
  client: Database,
  table: 'erasures' | 'deletions' | 'sink_erasures',
  unfinished: 'pending_user_id' | 'filter' | 'user_id',
): Overwriting {
  const pending = client.prepare<{ n: number }, []>(`SELECT count(*) AS n FROM ${table} WHERE is_overwritten = 0`);
  const due = `is_overwritten = 0 AND ${unfinished} IS NULL`;
  const findDue = client.prepare(`SELECT 1 FROM ${table} WHERE ${due} LIMIT 1`);
  const mark = client.prepare(`UPDATE ${table} SET is_overwritten = 1 WHERE ${due}`);
  return {
    pending: () => pending.get()?.n ?? 0,
    isOverwritingDue: () => findDue.get() !== null,
    markOverwritten: () => void mark.run(),
  };
}

/** Combines lists into one. */
export function combine(lists: readonly Overwriting[]): Overwriting {
  return {
    pending: () => lists.reduce((sum, list) => sum + list.pending(), 0),
    isOverwritingDue: () => lists.some((list) => list.isOverwritingDue()),
    markOverwritten() {
      for (const list of lists) list.markOverwritten();
    },
  };
}
