import type { Database } from 'bun:sqlite';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readOrCreateSecretFile } from '../secret-file.ts';
import { newestChangeOf } from './board-users.ts';
import { combine, createOverwriting, type Overwriting } from './overwriting.ts';
import { beginSinkErasures } from './sink-erasures.ts';

const KEY_BYTES = 32;
/** Length of a key's fingerprint: 64 bits, enough to tell keys apart. */
const FINGERPRINT_DIGITS = 16;

/** An erasure that has begun and is not finished. */
export interface UnfinishedErasure {
  readonly id: number;
  readonly userId: string;
  /** Rows up to this `seq` are erased. */
  readonly cutoffSeq: number;
  /** The user's number in the column store; null if there was none. */
  readonly userNumber: number | null;
  /** Milliseconds since 1970, and not before any board, shared link or annotation that existed then: those are erased. */
  readonly requestedAt: number;
}

/**
 * The erased users, each with the last row that was erased. Users are stored as keyed hashes. The key is in a file next
 * to the database, so a copy of only the database does not reveal who was erased.
 */
export interface ErasureList extends Overwriting {
  /** Adds an erasure, here and for every sink, in the caller's transaction. */
  begin(erasure: Omit<UnfinishedErasure, 'id' | 'requestedAt'>): void;
  /** Returns the erasures that have begun and are not finished, oldest first. */
  unfinished(): UnfinishedErasure[];
  /** Marks an erasure as finished in all tables and deletes its user ID, in the caller's transaction. */
  finish(id: number): void;
  /** Returns whether a row of this user was erased. Rows that a returning user recorded after the cutoff were not. */
  isErased(userId: string, seq: number): boolean;
}

/** A keyed hash of user IDs (HMAC-SHA-256). */
export type UserHash = (userId: string) => Buffer;
/** An erasure as it is listed, finished or not. */
export interface ListedErasure {
  readonly id: number;
  /** The keyed hash of the user ID: see {@link createUserHash}. */
  readonly userHash: Uint8Array;
  /** Rows up to this `seq` are erased. */
  readonly cutoffSeq: number;
  /** Milliseconds since 1970. */
  readonly requestedAt: number;
}

/** Returns the listed erasures after an ID, oldest first. */
export function readErasures(client: Database, afterId = 0): ListedErasure[] {
  return client
    .query<ListedErasure, [number]>(
      `SELECT id, user_hash AS userHash, cutoff_seq AS cutoffSeq, requested_at AS requestedAt
       FROM erasures WHERE id > ? ORDER BY id`,
    )
    .all(afterId);
}

/** Adds an erasure that is already finished, in the caller's transaction. */
export function addFinishedErasure(
  client: Database,
  { userHash, cutoffSeq, requestedAt }: Omit<ListedErasure, 'id'>,
): void {
  client
    .query(
      `INSERT INTO erasures (user_hash, cutoff_seq, requested_at, pending_user_id, user_number, is_overwritten)
       VALUES (?, ?, ?, NULL, NULL, 1)`,
    )
    .run(userHash, cutoffSeq, requestedAt);
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
export function openUserHash(databasePath: string): UserHash {
  const path = erasureKeyPath(databasePath);
  const { content } = readOrCreateSecretFile(path, () => randomBytes(KEY_BYTES).toString('base64url'));
  return createUserHash(parseErasureKey(content, path));
}

/** Creates the keyed hash of user IDs. */
export function createUserHash(key: Buffer): (userId: string) => Buffer {
  return (userId) => createHmac('sha256', key).update(userId).digest();
}

/** Parses the content of a key file. */
export function parseErasureKey(content: string, path: string): Buffer {
  const key = Buffer.from(content.trim(), 'base64url');
  if (key.length !== KEY_BYTES) {
    throw new Error(`${path} does not contain a ${KEY_BYTES}-byte key in base64url. Use a copy of the file.`);
  }
  return key;
}

/** Returns a text that identifies a key without revealing it: the beginning of its SHA-256 in hexadecimal digits. */
export function fingerprintOf(key: Buffer): string {
  return createHash('sha256').update(key).digest('hex').slice(0, FINGERPRINT_DIGITS);
}

/** Reads the key of a database's erasure list; undefined if there is none yet. */
export function readErasureKey(databasePath: string): Buffer | undefined {
  const path = erasureKeyPath(databasePath);
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseErasureKey(content, path);
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
      `SELECT id, pending_user_id AS userId, cutoff_seq AS cutoffSeq, user_number AS userNumber,
         requested_at AS requestedAt
       FROM erasures WHERE pending_user_id IS NOT NULL ORDER BY id`,
    ),
    finish: client.prepare('UPDATE erasures SET pending_user_id = NULL, user_number = NULL WHERE id = ?'),
    cutoff: client.prepare<{ cutoff: number | null }, [Uint8Array]>(
      'SELECT max(cutoff_seq) AS cutoff FROM erasures WHERE user_hash = ?',
    ),
  };
  return {
    begin({ userId, cutoffSeq, userNumber }) {
      // the clock may have been set back
      const requestedAt = Math.max(now(), newestChangeOf(client));
      statements.begin.run(hash(userId), cutoffSeq, requestedAt, userId, userNumber);
      beginSinkErasures(client, userId, cutoffSeq, now());
    },
    unfinished: () => statements.unfinished.all(),
    finish: (id) => void statements.finish.run(id),
    isErased: (userId, seq) => seq <= (statements.cutoff.get(hash(userId))?.cutoff ?? -1),
    ...combine([
      createOverwriting(client, 'erasures', 'pending_user_id'),
      createOverwriting(client, 'sink_erasures', 'user_id'),
    ]),
  };
}
