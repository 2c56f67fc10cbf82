import type { Database } from 'bun:sqlite';
import { rewriteFile } from './rewrite-file.ts';

/*
 * Imports insert rows between existing ones, for which SQLite moves rows to other pages. Old copies of moved rows stay in
 * the unused parts of pages, where an erasure does not find them: only VACUUM, which rewrites the whole file, removes them.
 * It takes too long beside recording. An import into the database of a running server is therefore only marked here. The
 * next start runs VACUUM, but only if rows were erased or deleted since; until then, these count as pending.
 */

/** The name of the mark in `column_state`. */
const MOVED_CELLS = 'moved_cells';

/** Marks, in the caller's transaction, that the file may contain old copies of rows. */
export function markMovedCells(client: Database): void {
  client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, 1)').run(MOVED_CELLS);
}

/** Returns whether the file may contain old copies of rows. */
export function hasMovedCells(client: Database): boolean {
  return client.query('SELECT 1 FROM column_state WHERE name = ?').get(MOVED_CELLS) !== null;
}

/**
 * Removes all old copies of rows from the file, with VACUUM. This takes about as long as copying the file, and needs as
 * much space on the disk. Nobody else may write meanwhile.
 *
 * @throws SQLite's errors; the file then remains marked
 */
export function removeMovedCells(client: Database): void {
  rewriteFile(client);
  client.query('DELETE FROM column_state WHERE name = ?').run(MOVED_CELLS);
}

/**
 * Removes old copies of rows if an erasure or a deletion waits for it. Only while opening the database.
 *
 * @param onBegin called before a compaction, which can take minutes
 * @returns the error if that failed, for example because the disk is full
 */
export function removeMovedCellsIfDue(client: Database, onBegin: () => void): unknown {
  const isDue = ['erasures', 'deletions'].some(
    (table) => client.query(`SELECT 1 FROM ${table} WHERE is_overwritten = 0 LIMIT 1`).get() !== null,
  );
  if (!isDue || !hasMovedCells(client)) return undefined;
  try {
    onBegin();
    removeMovedCells(client);
    return undefined;
  } catch (error) {
    return error;
  }
}
