import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** Maximum number of annotations. */
export const MAX_ANNOTATIONS = 10_000;

/** A stored annotation. */
export interface StoredAnnotation {
  readonly annotationId: string;
  /** When it happened, in microseconds since 1970. */
  readonly at: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** The admin who added it; null once erased. */
  readonly author: string | null;
  readonly text: string;
  readonly url: string | null;
}

/** The annotations of a database. Functions that change it run in the caller's transaction and return the changed rows. */
export interface AnnotationStore {
  /**
   * Returns the newest annotations of a range, oldest first.
   *
   * @param from microseconds since 1970, inclusive; undefined: no limit
   * @param to exclusive
   */
  list(from: number | undefined, to: number | undefined, limit: number): StoredAnnotation[];
  isFull(): boolean;
  insert(annotation: StoredAnnotation): number;
  delete(annotationId: string): number;
}

/** Opens the annotations of a database. */
export function openAnnotationStore(client: Database): AnnotationStore {
  const inRange = client.prepare<StoredAnnotation, [number, number, number]>(
    `SELECT annotation_id AS annotationId, at, created_at AS createdAt, author, text, url FROM annotations
     WHERE annotation_id IS NOT NULL AND at >= ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?`,
  );
  const count = client.prepare<{ n: number }, []>(
    'SELECT count(*) AS n FROM annotations WHERE annotation_id IS NOT NULL',
  );
  const insertRow = client.prepare(
    'INSERT INTO annotations (annotation_id, at, created_at, author, url, text) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const blank = client.prepare(
    `UPDATE annotations SET annotation_id = NULL, at = 0, created_at = 0, author = NULL, url = NULL, text = NULL
     WHERE annotation_id = ?`,
  );
  return {
    list: (from, to, limit) =>
      inRange.all(from ?? Number.MIN_SAFE_INTEGER, to ?? Number.MAX_SAFE_INTEGER, limit).reverse(),
    isFull: () => (count.get()?.n ?? 0) >= MAX_ANNOTATIONS,
    insert({ annotationId, at, createdAt, author, url, text }) {
      const { changes } = insertRow.run(annotationId, at, createdAt, author, url, text);
      assertChanges(changes, 1);
      return changes;
    },
    delete: (annotationId) => blank.run(annotationId).changes,
  };
}
