import { constants, statSync } from 'node:fs';
import fs from 'node:fs/promises';
import { dirname } from 'node:path';
import { LRUCache } from 'lru-cache';
import { syncFolder } from '../durable-folder.ts';
import { chownToFolderOwner } from '../file-owner.ts';
import { formatTimestamp } from '../formats/timestamp.ts';
import type { Kind } from '../records.ts';
import type { DeletionFilter } from './deletion-list.ts';
import type { UserHash } from './erasure-list.ts';

/*
 * The audit log of a database: an append-only file of JSON lines next to it. It is not a table, so that neither restoring
 * an older backup nor damage to the database removes entries, and so that administrators of the machine can make the file
 * append-only (chattr +a) or ship it elsewhere.
 *
 * It contains no IDs and no names, only keyed hashes: an entry must survive the erasure of the user that it concerns, and a
 * name can contain a user ID, which is then deleted by name.
 */

/** How long the use of one user's ID by one admin is not recorded again, in milliseconds. */
const ACT_AS_INTERVAL_MS = 24 * 3600_000;
/** Admins and users whose last use is known. Beyond it, uses are recorded more often. */
const MAX_KNOWN_PAIRS = 100_000;
/** Delay until uses are written, so that a batch for many users makes one entry, in milliseconds. */
const ACT_AS_DELAY_MS = 1_000;
/** Users in one entry: 45 kB. */
const MAX_USERS_PER_ENTRY = 1_000;

/** Who erases or deletes. */
export interface Actor {
  /** The admin; undefined for a command, which its operator runs with access to the files. */
  readonly userId: string | undefined;
  readonly requestId: string;
}

/** An entry of the audit log, as it is stored. Hashes are HMAC-SHA-256 with `erasure-key`, in base64url. */
export type AuditEntry = { readonly at: string } & Entry;

type Entry = ErasureEntry | DeletionEntry | ActAsEntry | LinkEntry;

interface RemovalEntry {
  /** An action that has begun and has no further entry was interrupted. */
  readonly phase: 'begun' | 'finished' | 'failed';
  readonly via: 'api' | 'command';
  /** The hash of the admin's ID; null for a command. */
  readonly actor: string | null;
  /** The same for all entries of one action. */
  readonly request_id: string;
  /** Numbers of rows, once finished. */
  readonly deleted?: { readonly metrics?: number; readonly analytics?: number };
}

interface ErasureEntry extends RemovalEntry {
  readonly action: 'erase';
  /** The hash of the erased user's ID. */
  readonly user: string;
}

interface DeletionEntry extends RemovalEntry {
  readonly action: 'delete';
  readonly kind: 'metrics' | 'analytics';
  /** The hash of the metric name or event type. */
  readonly name: string;
  readonly from: string | null;
  readonly to: string | null;
  /** The hash of the user ID in the filter, if it has one. */
  readonly user?: string;
  /** Whether the filter also has conditions on labels or properties, which are not recorded. */
  readonly has_conditions: boolean;
}

interface ActAsEntry {
  readonly action: 'act-as';
  /** The hash of the admin's ID. */
  readonly actor: string;
  /** The hashes of the users that the admin has recorded for, for the first time in 24 hours. */
  readonly users: readonly string[];
}

/** A shared link of a board was created or revoked. */
interface LinkEntry {
  readonly action: 'share' | 'unshare';
  /** The hash of the caller's ID. */
  readonly actor: string;
  readonly request_id: string;
  /** The random ID of the link, which does not open it. */
  readonly link: string;
  /** For a new link: whose rows it shows, and until when. */
  readonly rows?: 'all' | 'user';
  readonly expires_at?: string;
}

/** The error of an erasure or a deletion that did not begin, because it could not be recorded. */
export class AuditLogError extends Error {
  override readonly name = 'AuditLogError';
}

/** What happens to a shared link. */
export type LinkChange = Omit<LinkEntry, 'actor' | 'request_id'>;

/** The audit log of a database. */
export interface AuditLog {
  /**
   * Erases a user, with an entry before and one after it. The first one is durable before the erasure begins.
   *
   * @throws {AuditLogError} if the first entry cannot be written; nothing is erased then. Otherwise what `erase` throws
   */
  erasure<Rows extends { readonly metrics: number; readonly analytics: number }>(
    actor: Actor,
    userId: string,
    erase: () => Rows | Promise<Rows>,
  ): Promise<Rows>;
  /** Deletes records, as {@link erasure} does. */
  deletion(actor: Actor, kind: Kind, filter: DeletionFilter, remove: () => number | Promise<number>): Promise<number>;
  /**
   * Records that a link of a board was created or revoked. Resolves once the entry is on disk.
   *
   * @throws {AuditLogError} if it cannot be written
   */
  link(actor: { readonly userId: string; readonly requestId: string }, entry: LinkChange): Promise<void>;
  /** Records that an admin has recorded for another user, within about a second, and once per day for each user. */
  actAs(adminId: string, userId: string): void;
  /** Writes what is still to be written. */
  close(): Promise<void>;
}

/** Returns the path of the audit log of a database. */
export function auditLogPath(databasePath: string): string {
  return `${databasePath}.audit`;
}

/** Returns the hash of a metric name or event type. User IDs have other hashes: they contain no control characters. */
export function hashName(hash: UserHash, kind: Kind, name: string): string {
  return hash(`\0${kind}\0${name}`).toString('base64url');
}

/**
 * Opens the audit log of a database. Only one process may append to it: the one that holds the lock of the database.
 *
 * @param now the clock, in milliseconds since 1970
 * @param onError called when an entry could not be written, except for the first one of an erasure or a deletion
 */
export function openAuditLog(
  databasePath: string,
  hash: UserHash,
  now: () => number,
  onError: (error: unknown) => void,
): AuditLog {
  const path = auditLogPath(databasePath);
  const hashText = (id: string) => hash(id).toString('base64url');
  const known = new LRUCache<string, true>({ max: MAX_KNOWN_PAIRS, ttl: ACT_AS_INTERVAL_MS });
  /** The users of each admin whose use is not written yet. */
  let unwritten = new Map<string, string[]>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves when all earlier entries are written: one write at a time. */
  let lastWrite: Promise<unknown> = Promise.resolve();

  function append(entries: readonly Entry[]): Promise<void> {
    const at = formatTimestamp(now() * 1000);
    const text = entries.map((entry) => `${JSON.stringify({ at, ...entry })}\n`).join('');
    const written = lastWrite.then(() => appendDurably(path, text));
    lastWrite = written.catch(() => {});
    return written;
  }

  async function audit<Result>(
    entry: Omit<ErasureEntry, 'phase'> | Omit<DeletionEntry, 'phase'>,
    work: () => Result | Promise<Result>,
    deleted: (result: Result) => NonNullable<RemovalEntry['deleted']>,
  ): Promise<Result> {
    try {
      await append([{ ...entry, phase: 'begun' }]);
    } catch (error) {
      throw new AuditLogError(`the audit log ${path} cannot be written`, { cause: error });
    }
    let result: Result;
    try {
      result = await work();
    } catch (error) {
      await append([{ ...entry, phase: 'failed' }]).catch(onError);
      throw error;
    }
    await append([{ ...entry, phase: 'finished', deleted: deleted(result) }]).catch(onError);
    return result;
  }

  function fieldsOf({ userId, requestId }: Actor) {
    const via = userId === undefined ? ('command' as const) : ('api' as const);
    return { via, actor: userId === undefined ? null : hashText(userId), request_id: requestId };
  }

  async function writeUses(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const uses = unwritten;
    unwritten = new Map();
    const entries = [...uses].flatMap(([admin, users]) =>
      Array.from(
        { length: Math.ceil(users.length / MAX_USERS_PER_ENTRY) },
        (_, i): ActAsEntry => ({
          action: 'act-as',
          actor: hashText(admin),
          users: users.slice(i * MAX_USERS_PER_ENTRY, (i + 1) * MAX_USERS_PER_ENTRY).map(hashText),
        }),
      ),
    );
    if (entries.length === 0) return;
    try {
      await append(entries);
    } catch (error) {
      known.clear(); // the next uses are recorded again
      onError(error);
    }
  }

  return {
    erasure: (actor, userId, erase) =>
      audit({ action: 'erase', ...fieldsOf(actor), user: hashText(userId) }, erase, ({ metrics, analytics }) => ({
        metrics,
        analytics,
      })),
    deletion(actor, kind, { name, from, to, user, labels, properties }, remove) {
      const timeOf = (time: number | undefined) => (time === undefined ? null : formatTimestamp(time));
      const table = kind === 'metric' ? 'metrics' : 'analytics';
      const entry: Omit<DeletionEntry, 'phase'> = {
        ...{ action: 'delete', ...fieldsOf(actor), kind: table, name: hashName(hash, kind, name) },
        ...{ from: timeOf(from), to: timeOf(to), ...(user !== undefined && { user: hashText(user) }) },
        has_conditions: labels !== undefined || (properties ?? []).length > 0,
      };
      return audit(entry, remove, (rows) => ({ [table]: rows }));
    },
    async link({ userId, requestId }, { action, ...change }) {
      try {
        await append([{ action, actor: hashText(userId), request_id: requestId, ...change }]);
      } catch (error) {
        throw new AuditLogError(`the audit log ${path} cannot be written`, { cause: error });
      }
    },
    actAs(adminId, userId) {
      const pair = `${adminId}\0${userId}`;
      if (known.has(pair)) return;
      known.set(pair, true);
      const users = unwritten.get(adminId);
      if (users) users.push(userId);
      else unwritten.set(adminId, [userId]);
      timer ??= setTimeout(() => void writeUses(), ACT_AS_DELAY_MS);
    },
    async close() {
      await writeUses();
      await lastWrite;
    },
  };
}

/** Appends text to a file, which is created if needed, and syncs it. An incomplete line at its end is ended first. */
async function appendDurably(path: string, text: string): Promise<void> {
  const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const isNew = !statSync(path, { throwIfNoEntry: false });
  const file = await fs.open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
  try {
    if (isNew) chownToFolderOwner(file.fd, dirname(path));
    await file.appendFile((await hasIncompleteLine(file)) ? `\n${text}` : text);
    await file.sync();
    if (isNew) syncFolder(dirname(path));
  } finally {
    await file.close();
  }
}

/** Returns whether the last line of a file is incomplete, after a crash or on a disk that was full. */
async function hasIncompleteLine(file: fs.FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] !== 0x0a;
}
