import type { Database } from 'bun:sqlite';
import { KINDS } from '../../records.ts';
import { inTransactions, type Job, SOON, type TransactionLimits } from '../job.ts';
import type { ChunkTable } from './chunk-table.ts';
import { LISTED } from './retired-users.ts';
import type { StoreParts } from './store-parts.ts';
import { REBUILDING } from './watermarks.ts';

/** Limits of transactions that blank whole chunks: the commit overwrites every freed page. */
const BLANKING_LIMITS: TransactionLimits = { ...SOON, bytes: 1024 * 1024 };

/** The name in `column_state` of the mark that rows were imported since the last rebuild. */
export const IMPORTING = 'importing';

/**
 * Records, in the caller's transaction, that rows were stored out of order: the column store lacks them until it is
 * rebuilt, and serves the others meanwhile. Erasures and deletions, which would miss them, rebuild it first.
 */
export function markImporting(client: Database): void {
  client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, 1)').run(IMPORTING);
}

/** Returns whether rows were stored out of order since the last rebuild. */
export function isImporting(client: Database): boolean {
  return client.query('SELECT 1 FROM column_state WHERE name = ?').get(IMPORTING) !== null;
}

/**
 * Begins a rebuild, in the caller's transaction. `ColumnStore.finishRebuild` then clears all chunks, and catching up applies
 * all rows again. Needed after rows were stored out of order, because catching up would skip them.
 */
export function beginRebuild(client: Database): void {
  const set = client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)');
  for (const kind of KINDS) set.run(kind, 0);
  set.run(REBUILDING, 1);
  client.query('DELETE FROM column_state WHERE name = ?').run(IMPORTING);
  client.run('DELETE FROM sealed_series');
  // the rows of users whose erasure has begun are not applied again, and so not listed either
  for (const kind of KINDS) client.query('DELETE FROM column_state WHERE name = ?').run(LISTED[kind]);
}

/** Clears what was derived from rows, after which rows can be applied again. All parts must then be reloaded. */
export function* clearForRebuild(client: Database, parts: StoreParts): Job<void> {
  const { chunks, transact, userRows, userSeries } = parts;
  const blank = ({ id, bytes }: { readonly id: number; readonly bytes: number }) => {
    chunks.blank(id);
    return bytes;
  };
  yield* inTransactions(transact, allChunks(chunks), blank, undefined, undefined, BLANKING_LIMITS);
  yield* userSeries.clear();
  yield* userRows.clear();
  transact(() => {
    userRows.reset();
    client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, 0)').run(REBUILDING);
  });
}

function* allChunks(table: ChunkTable): Generator<{ readonly id: number; readonly bytes: number }> {
  for (;;) {
    const chunks = table.nonBlank(1_000);
    if (chunks.length === 0) return;
    yield* chunks;
  }
}
