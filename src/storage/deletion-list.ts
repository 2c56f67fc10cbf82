import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';
import { createOverwriting, type Overwriting } from './overwriting.ts';
import type { RecordFilter } from './records.ts';

/** Number of finished entries that {@link DeletionList.trim} keeps. */
const MAX_KEPT = 1_000;

/** The records to delete: those with this name that also match the rest of the filter. */
export interface DeletionFilter extends RecordFilter {
  readonly name: string;
}

/** A deletion that has begun and is not finished. */
export interface UnfinishedDeletion {
  readonly id: number;
  readonly kind: Kind;
  readonly filter: DeletionFilter;
  /** Rows up to this `seq` are deleted. */
  readonly cutoffSeq: number;
}

/** The deletions in a database. Once one is finished, only its kind, cutoff and time are kept. */
export interface DeletionList extends Overwriting {
  /** Adds a deletion, in the caller's transaction. Returns its key. */
  begin(deletion: Omit<UnfinishedDeletion, 'id'>): number;
  /** Returns the deletions that have begun and are not finished, oldest first. */
  unfinished(): UnfinishedDeletion[];
  isUnfinished(id: number): boolean;
  /** Deletes, in the caller's transaction, the oldest finished entries beyond 1,000, unless one is unfinished. */
  trim(): void;
  /** Marks a deletion as finished in all tables and deletes its filter, in the caller's transaction. */
  finish(id: number): void;
}

/**
 * Opens the list of deletions in a database.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function openDeletionList(client: Database, now: () => number): DeletionList {
  const begin = client.prepare(
    'INSERT INTO deletions (kind, filter, cutoff_seq, requested_at, is_overwritten) VALUES (?, ?, ?, ?, 0)',
  );
  const finish = client.prepare('UPDATE deletions SET filter = NULL WHERE id = ?');
  const findUnfinished = client.prepare('SELECT 1 FROM deletions WHERE id = ? AND filter IS NOT NULL');
  // while no entry has a filter, the table contains no texts that deleting a row could move
  const trim = client.prepare(
    `DELETE FROM deletions WHERE is_overwritten = 1 AND id <= (SELECT max(id) FROM deletions) - ${MAX_KEPT}
     AND NOT EXISTS (SELECT 1 FROM deletions WHERE filter IS NOT NULL)`,
  );
  return {
    begin: ({ kind, filter, cutoffSeq }) =>
      Number(begin.run(kind, JSON.stringify(filter), cutoffSeq, now()).lastInsertRowid),
    isUnfinished: (id) => findUnfinished.get(id) !== null,
    trim: () => void trim.run(),
    unfinished: () => readUnfinished(client),
    finish: (id) => void finish.run(id),
    ...createOverwriting(client, 'deletions', 'filter'),
  };
}

/** Reads the deletions that have begun and are not finished, oldest first. */
export function readUnfinished(client: Database): UnfinishedDeletion[] {
  return client
    .query<{ id: number; kind: Kind; filter: string; cutoffSeq: number }, []>(
      'SELECT id, kind, filter, cutoff_seq AS cutoffSeq FROM deletions WHERE filter IS NOT NULL ORDER BY id',
    )
    .all()
    .map(({ filter, ...deletion }) => ({ ...deletion, filter: JSON.parse(filter) as DeletionFilter })); // from begin()
}
