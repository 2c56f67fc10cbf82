import type { Database } from 'bun:sqlite';
import { createHmac, randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { readOrCreateSecretFile } from '../secret-file.ts';
import { createOverwriting, type Overwriting } from './overwriting.ts';

const KEY_BYTES = 32;

/** An erasure that has begun and is not finished. */
export interface UnfinishedErasure {
  readonly id: number;
  readonly userId: string;
  /** Rows up to this `seq` are erased. */
  readonly cutoffSeq: number;
  /** The user's number in the column store; null if there was none. */
  readonly userNumber: number | null;
}

/**
 * The erased users, each with the last row that was erased. Users are stored as keyed hashes. The key is in a file next
 * to the database, so a copy of only the database does not reveal who was erased.
 */
export interface ErasureList extends Overwriting {
  /** Adds an erasure, in the caller's transaction. */
  begin(erasure: Omit<UnfinishedErasure, 'id'>): void;
  /** Returns the erasures that have begun and are not finished, oldest first. */
  unfinished(): UnfinishedErasure[];
  /** Marks an erasure as finished in all tables and deletes its user ID, in the caller's transaction. */
  finish(id: number): void;
  /** Returns whether a row of this user was erased. Rows that a returning user recorded after the cutoff were not. */
  isErased(userId: string, seq: number): boolean;
}

/** Returns the path of the key file of a database's erasure list. */
export function erasureKeyPath(databasePath: string): string {
  return join(dirname(databasePath), 'erasure-key');
}

/**
 * Opens the keyed hash (HMAC-SHA-256) that replaces user IDs where the IDs themselves must not be kept. The key is
 * created on first use, readable only by its owner.
 *
 * @throws if the key file cannot be read or created, or does not contain a key
 */
export function openUserHash(databasePath: string): (userId: string) => Buffer {
  const path = erasureKeyPath(databasePath);
  const { content } = readOrCreateSecretFile(path, () => randomBytes(KEY_BYTES).toString('base64url'));
  const key = Buffer.from(content, 'base64url');
  if (key.length !== KEY_BYTES) {
    throw new Error(`${path} does not contain a ${KEY_BYTES}-byte key in base64url. Restore this file from a backup.`);
  }
  return (userId) => createHmac('sha256', key).update(userId).digest();
}

/**
 * Opens the erasure list of a database.
 *
 * @param now the clock, in milliseconds since 1970
 * @throws as {@link openUserHash}
 */
export function openErasureList(client: Database, databasePath: string, now: () => number): ErasureList {
  const hash = openUserHash(databasePath);
  const statements = {
    begin: client.prepare(
      `INSERT INTO erasures (user_hash, cutoff_seq, requested_at, pending_user_id, user_number, is_overwritten)
       VALUES (?, ?, ?, ?, ?, 0)`,
    ),
    unfinished: client.prepare<UnfinishedErasure, []>(
      `SELECT id, pending_user_id AS userId, cutoff_seq AS cutoffSeq, user_number AS userNumber
       FROM erasures WHERE pending_user_id IS NOT NULL ORDER BY id`,
    ),
    finish: client.prepare('UPDATE erasures SET pending_user_id = NULL, user_number = NULL WHERE id = ?'),
    cutoff: client.prepare<{ cutoff: number | null }, [Uint8Array]>(
      'SELECT max(cutoff_seq) AS cutoff FROM erasures WHERE user_hash = ?',
    ),
  };
  return {
    begin({ userId, cutoffSeq, userNumber }) {
      statements.begin.run(hash(userId), cutoffSeq, now(), userId, userNumber);
    },
    unfinished: () => statements.unfinished.all(),
    finish: (id) => void statements.finish.run(id),
    isErased: (userId, seq) => seq <= (statements.cutoff.get(hash(userId))?.cutoff ?? -1),
    ...createOverwriting(client, 'erasures', 'pending_user_id'),
  };
}
