import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';

/** The keys of rows that one transaction of an import has stored. */
export interface ImportedRows {
  readonly id: number;
  readonly kind: Kind;
  /** Ascending. */
  readonly seqs: readonly number[];
}

/**
 * Adds the keys of rows that an import has stored, in the caller's transaction: rows with old keys lie behind the cursors of
 * the sinks. Does nothing if there are no sinks.
 *
 * A key of the table is never used twice, even after {@link trimImportedRows}: the sinks remember the last one.
 */
export function addImportedRows(client: Database, kind: Kind, seqs: readonly number[]): void {
  if (seqs.length === 0) return;
  client
    .query(
      `INSERT INTO imported_rows (id, kind, seqs)
       SELECT 1 + max(max(import_id), coalesce((SELECT max(id) FROM imported_rows), 0)), ?, ?
       FROM sinks HAVING count(*) > 0`,
    )
    .run(kind, Buffer.from(Float64Array.from(seqs).sort().buffer));
}

/** Returns the first imported rows after a key; undefined if there are none. */
export function nextImportedRows(client: Database, afterId: number): ImportedRows | undefined {
  const found = client
    .query<{ id: number; kind: Kind; seqs: Uint8Array }, [number]>(
      'SELECT id, kind, seqs FROM imported_rows WHERE id > ? ORDER BY id LIMIT 1',
    )
    .get(afterId);
  if (!found) return undefined;
  // copied, because a view of doubles must be aligned
  return { ...found, seqs: [...new Float64Array(Uint8Array.from(found.seqs).buffer)] };
}

/** The rows of one transaction of an import, without most of their keys. */
export interface ImportedPart {
  readonly id: number;
  readonly kind: Kind;
  readonly rows: number;
  /** The smallest `seq`. */
  readonly first: number;
}

/** Returns what the first transactions after a key of the table have stored. Takes a few milliseconds per thousand. */
export function listImportedRows(client: Database, afterId: number, limit: number): ImportedPart[] {
  return client
    .query<{ id: number; kind: Kind; rows: number; first: Uint8Array }, [number, number]>(
      `SELECT id, kind, length(seqs) / ${Float64Array.BYTES_PER_ELEMENT} AS rows,
         substr(seqs, 1, ${Float64Array.BYTES_PER_ELEMENT}) AS first
       FROM imported_rows WHERE id > ? ORDER BY id LIMIT ?`,
    )
    .all(afterId, limit)
    .map(({ first, ...part }) => ({ ...part, first: new Float64Array(Uint8Array.from(first).buffer)[0] as number }));
}

/** Deletes the keys that every sink has received, or all if there are no sinks, in the caller's transaction. */
export function trimImportedRows(client: Database): void {
  client
    .query('DELETE FROM imported_rows WHERE id <= (SELECT coalesce(min(import_id), 9223372036854775807) FROM sinks)')
    .run();
}
