import type { Database } from 'bun:sqlite';
import type { Transact } from './job.ts';
import { StorageError } from './storage-error.ts';

/**
 * Creates the function that runs write transactions on a connection: BEGIN IMMEDIATE, the work, COMMIT. The work must
 * be synchronous: the transaction would commit before an async callback is done.
 *
 * After an error the function rolls back and rethrows it. If the rollback fails too, it throws a {@link StorageError} of
 * kind `failing`, with the first error as its innermost cause.
 */
export function createTransact(client: Database): Transact {
  const begin = client.prepare('BEGIN IMMEDIATE');
  const commit = client.prepare('COMMIT');
  const rollback = client.prepare('ROLLBACK');
  let heldMs = 0;
  function transact<Result>(work: () => Result): Result {
    begin.run();
    const startedAt = performance.now();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      try {
        // SQLite rolls back automatically after some errors.
        if (client.inTransaction) rollback.run();
      } catch (rollbackError) {
        // The transaction's own error becomes the innermost cause because it says more than the rollback's.
        const { message } = rollbackError as Error; // SQLite throws nothing else
        throw new StorageError('failing', new Error(`the rollback failed: ${message}`, { cause: error }));
      }
      throw error;
    } finally {
      heldMs += performance.now() - startedAt;
    }
  }
  return Object.defineProperty(transact, 'heldMs', { get: () => heldMs }) as Transact; // with the property just defined
}
