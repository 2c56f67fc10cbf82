import type { Database } from 'bun:sqlite';
import { createHmac, randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { readOrCreateSecretFile } from '../secret-file.ts';

const KEY_BYTES = 32;

/** An erasure that has begun, as long as it is not finished. */
export interface UnfinishedErasure {
  readonly id: number;
  readonly userId: string;
  /** Rows up to this `seq` are erased. */
  readonly cutoffSeq: number;
  /** The user's number in the column store; null if there was none. */
  readonly userNumber: number | null;
}

/**
 * The erasure list: who was erased, and up to which row. It names users by a keyed hash, whose key is in a file
 * beside the database: a copy of the database alone does not tell who was erased.
 */
export interface ErasureList {
  /** Adds an erasure, in the caller's transaction. */
  begin(erasure: Omit<UnfinishedErasure, 'id'>): void;
  /** Erasures that were begun and not finished. */
  unfinished(): UnfinishedErasure[];
  /** Notes, in the caller's transaction, that every copy in the tables is gone, and forgets the user ID. */
  finish(id: number): void;
  /** Notes, in the caller's transaction, that no file of the database has erased bytes any more. */
  noteOverwritten(): void;
  /** How many erasures are unfinished, or finished but not overwritten in every file yet. */
  pending(): number;
  /** Whether a row was erased: one of this user, up to the cutoff. A returning user's later rows were not. */
  isErased(userId: string, seq: number): boolean;
}

/** Returns the path of the key of a database's erasure list. */
export function erasureKeyPath(databasePath: string): string {
  return join(dirname(databasePath), 'erasure-key');
}

/**
 * Reads the key of a database's erasure list; creates it on first use, readable to its owner only.
 *
 * @throws if the key file cannot be read or created, or is no key
 */
export function readErasureKey(databasePath: string): Buffer {
  const path = erasureKeyPath(databasePath);
  const { content } = readOrCreateSecretFile(path, () => randomBytes(KEY_BYTES).toString('base64url'));
  const key = Buffer.from(content, 'base64url');
  if (key.length !== KEY_BYTES) throw new Error(`${path} does not hold a key of ${KEY_BYTES} bytes in base64url`);
  return key;
}

/**
 * Opens the erasure list of a database, as {@link readErasureKey} reads its key.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function openErasureList(client: Database, databasePath: string, now: () => number): ErasureList {
  const key = readErasureKey(databasePath);
  const hash = (userId: string) => createHmac('sha256', key).update(userId).digest();
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
    noteOverwritten: client.prepare(
      'UPDATE erasures SET is_overwritten = 1 WHERE is_overwritten = 0 AND pending_user_id IS NULL',
    ),
    pending: client.prepare<{ n: number }, []>('SELECT count(*) AS n FROM erasures WHERE is_overwritten = 0'),
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
    noteOverwritten: () => void statements.noteOverwritten.run(),
    pending: () => statements.pending.get()?.n ?? 0,
    isErased: (userId, seq) => seq <= (statements.cutoff.get(hash(userId))?.cutoff ?? -1),
  };
}
