import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';
import { createOverwriting, type Overwriting } from './overwriting.ts';
import type { RecordFilter } from './records.ts';

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
  /** Adds a deletion, in the caller's transaction. */
  begin(deletion: Omit<UnfinishedDeletion, 'id'>): void;
  /** Returns the deletions that have begun and are not finished, oldest first. */
  unfinished(): UnfinishedDeletion[];
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
  return {
    begin: ({ kind, filter, cutoffSeq }) => void begin.run(kind, JSON.stringify(filter), cutoffSeq, now()),
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
