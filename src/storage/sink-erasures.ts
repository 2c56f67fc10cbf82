import type { Database } from 'bun:sqlite';
import type { ErasedUser } from './columns/column-store.ts';

/** An erasure that a sink has not repeated yet. */
export interface PendingSinkErasure {
  readonly id: number;
  readonly userId: string;
  /** Rows up to this `seq` are erased. */
  readonly cutoffSeq: number;
}

/**
 * Adds an erasure for every sink that may have received rows, in the caller's transaction. The sinks are those that have
 * ever been in FORWARD_URL.
 *
 * @param requestedAt milliseconds since 1970
 */
export function beginSinkErasures(client: Database, userId: string, cutoffSeq: number, requestedAt: number): void {
  client
    .query(
      `INSERT INTO sink_erasures (sink_id, user_id, cutoff_seq, requested_at, is_overwritten)
       SELECT id, ?, ?, ?, 0 FROM sinks`,
    )
    .run(userId, cutoffSeq, requestedAt);
}

/**
 * Returns the erasures that a sink can repeat, oldest first. An erasure that is unfinished in this database is left out:
 * rows of the user that are not blank yet could still be read and delivered after it.
 */
export function readSinkErasures(client: Database, sinkId: number): PendingSinkErasure[] {
  return client
    .query<PendingSinkErasure, [number]>(
      `SELECT id, user_id AS userId, cutoff_seq AS cutoffSeq FROM sink_erasures
       WHERE is_overwritten = 0 AND sink_id = ? AND user_id IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM erasures WHERE pending_user_id = sink_erasures.user_id)
       ORDER BY id`,
    )
    .all(sinkId);
}

/** Blanks an erasure that its sink has repeated, in the caller's transaction. */
export function finishSinkErasure(client: Database, id: number): void {
  client.query('UPDATE sink_erasures SET user_id = NULL WHERE id = ?').run(id);
}

/** Returns the number of erasures that a sink has not repeated yet. */
export function countSinkErasures(client: Database, sinkId: number): number {
  const query = client.query<{ n: number }, [number]>(
    'SELECT count(*) AS n FROM sink_erasures WHERE is_overwritten = 0 AND sink_id = ? AND user_id IS NOT NULL',
  );
  return query.get(sinkId)?.n ?? 0;
}

/** Returns the names of the sinks that have not erased a user yet. */
export function sinksWithRowsOf(client: Database, userId: string): string[] {
  const rows = client
    .query<{ name: string }, [string]>(
      `SELECT DISTINCT name FROM sink_erasures JOIN sinks ON sinks.id = sink_id
       WHERE is_overwritten = 0 AND user_id = ? ORDER BY sinks.id`,
    )
    .all(userId);
  return rows.map(({ name }) => name);
}

/**
 * Returns the users whom a sink of a scheme has not erased yet, for queries of its engine.
 *
 * @param scheme what the names of the sinks begin with
 */
export function readErasedUsers(client: Database, scheme: string): ErasedUser[] {
  return client
    .query<ErasedUser, [string]>(
      `SELECT user_id AS userId, max(cutoff_seq) AS cutoffSeq FROM sink_erasures JOIN sinks ON sinks.id = sink_id
       WHERE is_overwritten = 0 AND user_id IS NOT NULL AND name LIKE ? || '%' GROUP BY user_id`,
    )
    .all(scheme);
}
