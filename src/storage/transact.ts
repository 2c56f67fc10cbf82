import type { Database } from 'bun:sqlite';
import type { Transact } from './job.ts';
import { StorageError } from './storage-error.ts';

/**
 * Makes the one function that runs a transaction on a connection: BEGIN IMMEDIATE, the work, COMMIT. The work is
 * synchronous, because an async callback would be committed before it is done.
 *
 * The function throws what the work or SQLite threw, after a rollback; a {@link StorageError} of the kind
 * `failing` where the rollback fails as well, with the first error as its innermost cause.
 */
export function createTransact(client: Database): Transact {
  const begin = client.prepare('BEGIN IMMEDIATE');
  const commit = client.prepare('COMMIT');
  const rollback = client.prepare('ROLLBACK');
  return (work) => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      try {
        // after some errors SQLite has rolled back by itself
        if (client.inTransaction) rollback.run();
      } catch (rollbackError) {
        // what the transaction failed with says more than that its rollback failed as well
        const { message } = rollbackError as Error; // SQLite throws nothing else
        throw new StorageError('failing', new Error(`the rollback failed: ${message}`, { cause: error }));
      }
      throw error;
    }
  };
}
