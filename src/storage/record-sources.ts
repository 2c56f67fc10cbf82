import type { Database } from 'bun:sqlite';
import { createHash } from 'node:crypto';
import type { Kind, RecordSource } from '../records.ts';
import { COUNTER_RANGE } from './record-id.ts';
import { createTextHash } from './text-hash.ts';

/*
 * What imported records were in the database that they come from: their IDs there, and what became of NULL. It is a table
 * of its own, so that rows recorded here have no further columns. Like all tables with texts, it only grows at its end,
 * and its rows are blanked in place: see blanking.ts.
 *
 * It also lists moved records: those of another node whose key, the time part of their ID, a record here already had. They
 * keep their ID under the next free key.
 */

/** Bits of `forms`. */
const LABEL_NULL = 1;
const DATA_FORMS = { object: 0, null: 2, value: 4 } as const;
/** The record is moved, and `source_id` is its own ID. */
const MOVED = 8;

/** SQL that blanks the source of a record by its `seq`. */
export const BLANK_SOURCE = `UPDATE record_sources SET seq = 0, source_hash = 0, source_id = NULL, forms = 0
  WHERE seq = ? AND source_id IS NOT NULL`;

/**
 * Returns the ID of a record from another database: a UUIDv7 of the time when it was created there, and of a hash of its
 * ID there. So it gets the same ID whenever it is imported.
 *
 * @param createdMs milliseconds since 1970
 */
export function idOfSource(kind: Kind, sourceId: string, createdMs: number): string {
  const hash = createHash('sha256').update(`${kind} ${sourceId}`).digest();
  const time = createdMs.toString(16).padStart(12, '0');
  const counter = (hash.readUInt16BE(8) % COUNTER_RANGE).toString(16).padStart(3, '0');
  hash[0] = ((hash[0] ?? 0) & 0x3f) | 0x80; // the variant: binary 10
  const random = hash.toString('hex', 0, 8);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${random.slice(0, 4)}-${random.slice(4)}`;
}

interface StoredSource {
  readonly seq: number;
  readonly id: string;
  readonly forms: number;
}

/** The sources of the records in a database, for imports. */
export interface RecordSources {
  /** Returns the record of a source ID: its `seq` and its source; undefined if there is none. */
  find(kind: Kind, sourceId: string): { readonly seq: number; readonly source: RecordSource } | undefined;
  /** Adds the source of a record, in the caller's transaction. */
  add(kind: Kind, seq: number, source: RecordSource): void;
  /** Returns the `seq` of a moved record by its ID; undefined if it is not moved. */
  findMoved(kind: Kind, id: string): number | undefined;
  /** Records that a record is moved, in the caller's transaction. */
  addMoved(kind: Kind, seq: number, id: string): void;
}

/** Opens the sources of the records in a database. */
export function openRecordSources(client: Database): RecordSources {
  const hash = createTextHash(client);
  const hashOf = (kind: Kind, sourceId: string) => hash(sourceId, kind === 'metric' ? 1 : 2);
  const find = client.query<StoredSource, [number, string]>(
    `SELECT seq, source_id AS id, forms FROM record_sources
     WHERE source_hash = ? AND source_id IS NOT NULL AND source_id = ? AND forms < ${MOVED}`,
  );
  const findMoved = client.query<{ seq: number }, [number, string]>(
    `SELECT seq FROM record_sources
     WHERE source_hash = ? AND source_id IS NOT NULL AND source_id = ? AND forms = ${MOVED}`,
  );
  const any = client.query('SELECT 1 FROM record_sources LIMIT 1');
  const insert = client.query('INSERT INTO record_sources (seq, source_hash, source_id, forms) VALUES (?, ?, ?, ?)');
  return {
    find(kind, sourceId) {
      const found = find.get(hashOf(kind, sourceId), sourceId);
      return found ? { seq: found.seq, source: sourceOf(found) } : undefined;
    },
    add(kind, seq, source) {
      const forms = (source.isLabelNull ? LABEL_NULL : 0) | DATA_FORMS[source.dataForm];
      insert.run(seq, hashOf(kind, source.id), source.id, forms);
    },
    findMoved: (kind, id) => (any.get() ? findMoved.get(hashOf(kind, id), id)?.seq : undefined),
    addMoved: (kind, seq, id) => void insert.run(seq, hashOf(kind, id), id, MOVED),
  };
}

/** Adds their sources to rows that have one. */
export function addSources<Row extends { readonly seq: number; source?: RecordSource }>(
  client: Database,
  rows: readonly Row[],
): void {
  if (rows.length === 0 || !client.query('SELECT 1 FROM record_sources LIMIT 1').get()) return;
  const found = client
    .query<StoredSource, [string]>(
      `SELECT seq, source_id AS id, forms FROM (SELECT value AS requested FROM json_each(?))
       CROSS JOIN record_sources ON seq = requested AND source_id IS NOT NULL AND forms < ${MOVED}`,
    )
    .all(JSON.stringify(rows.map(({ seq }) => seq)));
  const bySeq = new Map(found.map((source) => [source.seq, source]));
  for (const row of rows) {
    const source = bySeq.get(row.seq);
    if (source) row.source = sourceOf(source);
  }
}

/** Returns whether a record has another key than the time part of its ID because it was moved. */
export function isMoved(client: Database, seq: number, id: string): boolean {
  return (
    client
      .query<unknown, [number, string]>(
        `SELECT 1 FROM record_sources WHERE seq = ? AND source_id IS NOT NULL AND source_id = ? AND forms = ${MOVED}`,
      )
      .get(seq, id) !== null
  );
}

/** Returns the number of sources whose record is missing or blank. */
export function countLostSources(client: Database): number {
  const found = client
    .query<{ n: number }, []>(
      `SELECT count(*) AS n FROM record_sources WHERE source_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM metrics WHERE metrics.seq = record_sources.seq AND user_id <> '')
       AND NOT EXISTS (SELECT 1 FROM analytics WHERE analytics.seq = record_sources.seq AND user_id <> '')`,
    )
    .get();
  return found?.n ?? 0;
}

function sourceOf({ id, forms }: StoredSource): RecordSource {
  const dataForm = forms & DATA_FORMS.null ? 'null' : forms & DATA_FORMS.value ? 'value' : 'object';
  return { id, isLabelNull: (forms & LABEL_NULL) !== 0, dataForm };
}
