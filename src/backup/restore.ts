import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';
import { chownToFolderOwner, giveFolderToOwner } from '../file-owner.ts';
import type { S3Access } from '../formats/s3.ts';
import { openBoardLinkStore } from '../storage/board-link-store.ts';
import { emptyWal, lockForReplacement, openForReading, openStorage } from '../storage/database.ts';
import {
  createUserHash,
  erasureKeyPath,
  fingerprintOf,
  parseErasureKey,
  readErasureKey,
} from '../storage/erasure-list.ts';
import { missingErasures, replayErasures } from '../storage/erasure-replay.ts';
import { runJob } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import { readReplacedErasures } from '../storage/replaced-erasures.ts';
import { isOutdated } from '../storage/schema-version.ts';
import { messageOf, StorageError } from '../storage/storage-error.ts';
import { verifyDatabase } from '../storage/verify.ts';
import type { ErasureLogContent, LoggedErasure } from './erasure-entry.ts';
import { readErasureLogs } from './erasure-logs.ts';
import { extractDatabase } from './extract.ts';
import type { Manifest } from './manifest.ts';
import { differencesFrom, type VerificationProgress } from './verify.ts';

/** The folder next to the database in which a restore prepares it. */
export const STAGING_FOLDER = '.rawlog-restore';
/** The files that SQLite applies to a database file with a matching name. */
const APPLIED_FILES = ['-journal', '-wal', '-shm'] as const;

/** What to restore, and where. */
export interface RestoreOptions {
  readonly databasePath: string;
  /** Whether an existing database is replaced. */
  readonly overwrite: boolean;
  /** The file with the key of the erasure list; by default, the one next to the database, if it exists. */
  readonly erasureKeyPath: string | undefined;
  /** Folders and prefixes in S3 that may contain an erasure log. */
  readonly logPlaces: readonly string[];
  /** How to reach S3. */
  readonly s3: S3Access;
  /** Whether to restore even if users who were erased after the backup cannot be erased again. */
  readonly withoutLaterErasures: boolean;
  /** Whether the shared links of the backup keep working, including those revoked since. */
  readonly keepLinks: boolean;
}

/** What a restore did. */
export interface RestoreOutcome {
  readonly manifest: Manifest;
  /** Number of users erased after the backup, and how many of them were found in it and erased again. */
  readonly laterErasures: number;
  readonly erasedAgain: number;
  /** Number of erasures that could not be repeated. */
  readonly skippedErasures: number;
  /** Number of shared links that were revoked, without those that had expired. */
  readonly revokedLinks: number;
  /** Whether the erasure list of the replaced database could not be read. */
  readonly isListUnreadable: boolean;
  /** Whether a place in S3 that may have an erasure log could not be read. */
  readonly isLogUnreadable: boolean;
  /** Whether later erasures could be looked up: in an erasure log, or in the replaced database. */
  readonly hasErasureSource: boolean;
  /** Whether the key next to the database is the one of the backup's erasure list; true if that list needs no key. */
  readonly hasKey: boolean;
}

/** A backup whose database has problems, one per line of the message. */
export class InvalidBackupError extends Error {
  override readonly name = 'InvalidBackupError';
}

/**
 * Restores a database from a backup. It is prepared in a folder next to the target: extracted, verified, and the users
 * who were erased after the backup are erased again. Shared links are revoked, because one may have been revoked after the
 * backup. Then the database replaces the target at once. After a crash at any moment, there is either the old database or
 * the new one.
 *
 * @param source the bytes of the backup
 * @throws {DamagedBackupError | InvalidBackupError} if the backup is damaged
 * @throws {UnusableDatabaseError} if a server runs, or if the database cannot be used by this version
 * @throws {InterruptedError} after a signal
 */
export async function restoreBackup(
  source: AsyncIterable<Uint8Array>,
  options: RestoreOptions,
  progress: VerificationProgress,
): Promise<RestoreOutcome> {
  const { databasePath } = options;
  const folder = dirname(databasePath);
  const given = options.erasureKeyPath === undefined ? undefined : readKeyFile(options.erasureKeyPath);
  makeDurableFolder(folder);
  using _lock = lockForReplacement(databasePath);
  if (!options.overwrite && isPresent(databasePath)) {
    throw new Error(`There already is a database at ${databasePath}. Pass --force to replace it.`);
  }
  const existingKey = readErasureKey(databasePath);
  if (given && existingKey && !given.equals(existingKey)) {
    throw new Error(
      `${erasureKeyPath(databasePath)} is a different key. Move it away to use the one that you specified.`,
    );
  }
  const key = given ?? existingKey;
  const staging = join(folder, STAGING_FOLDER);
  fs.rmSync(staging, { recursive: true, force: true }); // left by a restore that was killed
  fs.mkdirSync(staging, { mode: 0o700 });
  try {
    giveFolderToOwner(staging);
    let isLogUnreadable = false;
    const logs = await readErasureLogs(options.logPlaces, options.s3, (error) => {
      isLogUnreadable = true;
      if (options.withoutLaterErasures) return;
      throw new Error(
        `The erasure log in S3 cannot be read: ${messageOf(error)} Nothing was restored. To restore without the erasures that only this log contains, pass --without-later-erasures.`,
        { cause: error },
      );
    });
    const staged = join(staging, 'rawlog.db');
    const manifest = await extractDatabase(source, staged, progress.onBytes);
    progress.onManifest(manifest);
    if (given && manifest.erasure_key !== null && fingerprintOf(given) !== manifest.erasure_key) {
      throw new Error(`${options.erasureKeyPath} is not the key of this backup's erasure list. Nothing was restored.`);
    }
    verifyStaged(staged, manifest, progress.onRows);
    if (key) writeKeyFile(staged, key);
    const replaced = isPresent(databasePath)
      ? readReplaced(databasePath, existingKey && fingerprintOf(existingKey))
      : undefined;
    const later = findLaterErasures(staged, logs, replaced);
    const repeated = eraseAgain(staged, later, key, options.withoutLaterErasures);
    const revokedLinks = options.keepLinks ? 0 : revokeLinks(staged);
    replaceDatabase(databasePath, staged, given !== undefined && !existingKey);
    return {
      manifest,
      laterErasures: later.erasures.length,
      erasedAgain: repeated.found,
      skippedErasures: repeated.skipped,
      revokedLinks,
      isListUnreadable: later.isListUnreadable,
      isLogUnreadable,
      hasErasureSource: later.hasSource,
      hasKey: manifest.erasure_key === null || (key !== undefined && fingerprintOf(key) === manifest.erasure_key),
    };
  } finally {
    fs.rmSync(staging, { recursive: true, force: true });
  }
}

function isPresent(databasePath: string): boolean {
  return ['', '-wal'].some((ending) => (fs.statSync(databasePath + ending, { throwIfNoEntry: false })?.size ?? 0) > 0);
}

/** Upgrades the extracted database if necessary, and verifies it. */
function verifyStaged(path: string, manifest: Manifest, onRows: (rows: number) => void): void {
  let client = openForReading(path);
  try {
    const differences = differencesFrom(manifest, client);
    if (isOutdated(client)) {
      client.close();
      openStorage(path, { create: false }).close();
      client = openForReading(path);
    }
    const { problems: found, omitted } = verifyDatabase(client, onRows);
    const problems = [...found, ...differences];
    if (problems.length === 0) return;
    throw new InvalidBackupError(
      [...problems, ...(omitted > 0 ? [`Problems not listed: ${omitted}.`] : [])].join('\n'),
    );
  } finally {
    client.close();
  }
}

/** Erasures after the backup, one per user and key. */
interface LaterErasures {
  readonly erasures: readonly LoggedErasure[];
  /** Number of damaged entries of erasure logs: each may have been an erasure. */
  readonly damaged: number;
  /** Whether the erasure list of the replaced database could not be read. */
  readonly isListUnreadable: boolean;
  /** Whether there was an erasure log or a database to replace. */
  readonly hasSource: boolean;
}

/** Finds the erasures in the erasure logs and in the replaced database that are not in the list of the staged one. */
function findLaterErasures(
  staged: string,
  logs: readonly ErasureLogContent[],
  replaced: readonly LoggedErasure[] | 'unreadable' | undefined,
): LaterErasures {
  const isListUnreadable = replaced === 'unreadable';
  const known = [...logs.flatMap(({ erasures }) => erasures), ...(isListUnreadable ? [] : (replaced ?? []))];
  const client = openForReading(staged);
  try {
    return {
      erasures: missingErasures(client, known),
      damaged: logs.reduce((sum, { damaged }) => sum + damaged, 0),
      isListUnreadable,
      hasSource: logs.length > 0 || replaced !== undefined,
    };
  } finally {
    client.close();
  }
}

/** Which erasures were repeated. */
interface RepeatedErasures {
  /** Number of users that were found. */
  readonly found: number;
  /** Number of erasures that could not be repeated. */
  readonly skipped: number;
}

/**
 * Repeats later erasures in the staged database.
 *
 * @param isOptional whether to skip the erasures that cannot be repeated; otherwise, they are an error
 */
function eraseAgain(
  staged: string,
  later: LaterErasures,
  key: Buffer | undefined,
  isOptional: boolean,
): RepeatedErasures {
  const fingerprint = key && fingerprintOf(key);
  const erasures = later.erasures.filter((erasure) => erasure.key === fingerprint);
  const unusable = later.erasures.length - erasures.length;
  const problem = problemWith(later, unusable);
  if (problem !== undefined && !isOptional) {
    throw new Error(
      `${problem} Nothing was restored. To restore without erasing these users again, pass --without-later-erasures.`,
    );
  }
  return {
    found: key && erasures.length > 0 ? replay(staged, key, erasures) : 0,
    skipped: unusable + later.damaged,
  };
}

/** Repeats erasures whose key is known. Returns the number of users that were found. */
function replay(staged: string, key: Buffer, erasures: readonly LoggedErasure[]): number {
  const storage = openStorage(staged, { create: false });
  try {
    const reader = openReader(staged);
    try {
      return runJob(replayErasures(reader, createUserHash(key), erasures));
    } finally {
      reader.close();
    }
  } finally {
    storage.close();
  }
}

/** Revokes all shared links of a staged database. Returns how many had not expired. */
function revokeLinks(staged: string): number {
  const storage = openStorage(staged, { create: false });
  try {
    const links = openBoardLinkStore(storage.client);
    links.deleteExpired(Date.now());
    return links.deleteAll();
  } finally {
    storage.close();
  }
}

/** Returns why later erasures cannot be repeated; undefined if they can. */
function problemWith({ erasures, damaged, isListUnreadable }: LaterErasures, unusable: number): string | undefined {
  if (unusable > 0) {
    return `Users were erased after the backup (${erasures.length}), but the key that identifies ${unusable} of them is missing. Pass a copy of the file erasure-key with --erasure-key.`;
  }
  if (damaged > 0) return `Entries of the erasure log next to the backups are damaged: ${damaged}.`;
  return isListUnreadable
    ? 'The erasure list of the database to replace cannot be read, so users who were erased after the backup may be unknown.'
    : undefined;
}

/** Prepares the database that is replaced, and returns its erasures: see {@link readReplacedErasures}. */
function readReplaced(path: string, key: string | undefined): LoggedErasure[] | 'unreadable' {
  try {
    const erasures = readReplacedErasures(path);
    return erasures === 'unreadable' ? erasures : erasures.map((erasure) => ({ ...erasure, key: key ?? '' }));
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    throw new Error(`Another process is reading ${path}. Stop it, then retry.`, { cause: error });
  }
}

/**
 * Replaces a database by the staged one. Files that SQLite would apply to the new database are durably gone before it
 * gets its name.
 */
function replaceDatabase(path: string, staged: string, installsKey: boolean): void {
  const folder = dirname(path);
  // only this file is kept
  emptyWal(staged);
  syncFile(staged);
  for (const ending of APPLIED_FILES) fs.rmSync(path + ending, { force: true });
  if (installsKey) fs.renameSync(erasureKeyPath(staged), erasureKeyPath(path));
  syncFolder(folder);
  fs.renameSync(staged, path);
  syncFolder(folder);
}

function readKeyFile(path: string): Buffer {
  try {
    return parseErasureKey(fs.readFileSync(path, 'utf8'), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw new Error(`${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
}

/** Writes the key of the erasure list of a staged database. */
function writeKeyFile(staged: string, key: Buffer): void {
  const file = fs.openSync(erasureKeyPath(staged), 'wx', 0o600);
  try {
    chownToFolderOwner(file, dirname(staged));
    fs.writeSync(file, `${key.toString('base64url')}\n`);
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

function syncFile(path: string): void {
  const file = fs.openSync(path, 'r+');
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}
