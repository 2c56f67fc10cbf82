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
  return { ...found, seqs: [...seqsOf(found.seqs)] };
}

function seqsOf(bytes: Uint8Array): Float64Array {
  return new Float64Array(Uint8Array.from(bytes).buffer); // copied, because a view of doubles must be aligned
}

/** The rows of one transaction of an import, without most of their keys. */
export interface ImportedPart {
  readonly id: number;
  readonly kind: Kind;
  readonly rows: number;
  /** The smallest and the largest `seq`. */
  readonly first: number;
  readonly last: number;
}

/** Returns what the first transactions after a key of the table have stored. Takes a few milliseconds per thousand. */
export function listImportedRows(client: Database, afterId: number, limit: number): ImportedPart[] {
  const bytes = Float64Array.BYTES_PER_ELEMENT;
  return client
    .query<{ id: number; kind: Kind; rows: number; first: Uint8Array; last: Uint8Array }, [number, number]>(
      `SELECT id, kind, length(seqs) / ${bytes} AS rows, substr(seqs, 1, ${bytes}) AS first, substr(seqs, -${bytes}) AS last
       FROM imported_rows WHERE id > ? ORDER BY id LIMIT ?`,
    )
    .all(afterId, limit)
    .map(({ first, last, ...part }) => ({
      ...part,
      first: seqsOf(first)[0] as number,
      last: seqsOf(last)[0] as number,
    }));
}

/**
 * Returns which of some keys of one kind are among imported rows after a key of the table.
 *
 * @param parts all rows after that key, or more of them
 */
export function findImported(
  client: Database,
  kind: Kind,
  afterId: number,
  seqs: readonly number[],
  parts: readonly ImportedPart[],
): Set<number> {
  const found = new Set<number>();
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const seq of seqs) {
    if (seq < least) least = seq;
    if (seq > most) most = seq;
  }
  const select = client.query<{ seqs: Uint8Array }, [number]>('SELECT seqs FROM imported_rows WHERE id = ?');
  let wanted: Set<number> | undefined;
  for (const part of parts) {
    if (part.kind !== kind || part.id <= afterId || part.last < least || part.first > most) continue;
    wanted ??= new Set(seqs);
    for (const seq of seqsOf(select.get(part.id)?.seqs ?? new Uint8Array())) if (wanted.has(seq)) found.add(seq);
  }
  return found;
}

/** Deletes the keys that every sink has received, or all if there are no sinks, in the caller's transaction. */
export function trimImportedRows(client: Database): void {
  client
    .query('DELETE FROM imported_rows WHERE id <= (SELECT coalesce(min(import_id), 9223372036854775807) FROM sinks)')
    .run();
}
