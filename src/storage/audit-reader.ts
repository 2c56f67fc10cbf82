import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type AuditEntry, auditLogPath } from './audit-log.ts';

/** Bytes read at once. */
const CHUNK_BYTES = 64 * 1024;
/** Bytes after which a page ends, even if it has no entry: reading them takes a few milliseconds. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** A page of entries, newest first. */
export interface AuditPage {
  readonly entries: AuditEntry[];
  /** Where the next page begins; undefined after the oldest entry. */
  readonly next: number | undefined;
}

/**
 * Reads a page of the audit log of a database. A missing log is empty. Incomplete lines are skipped.
 *
 * @param before the offset in bytes at which the page begins, from an earlier page; undefined: the newest entry
 * @param user the hash of a user; only entries in which it occurs are returned
 */
export function readAuditLog(
  databasePath: string,
  { limit, before, user }: { limit: number; before?: number | undefined; user?: string | undefined },
): AuditPage {
  let file: number;
  try {
    file = openSync(auditLogPath(databasePath), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { entries: [], next: undefined };
    throw error;
  }
  try {
    const entries: AuditEntry[] = [];
    const end = Math.min(before ?? Number.MAX_SAFE_INTEGER, fstatSync(file).size);
    for (const { start, bytes } of linesBefore(file, end)) {
      const entry = parseEntry(bytes);
      if (entry && (user === undefined || concerns(entry, user))) entries.push(entry);
      if (start > 0 && (entries.length >= limit || end - start >= MAX_PAGE_BYTES)) return { entries, next: start };
    }
    return { entries, next: undefined };
  } finally {
    closeSync(file);
  }
}

/** Yields the lines before an offset, last first, with the offsets at which they start. */
function* linesBefore(file: number, end: number): Generator<{ start: number; bytes: Buffer }> {
  /** The start of a line whose beginning is not read yet. */
  let tail: Buffer = Buffer.alloc(0);
  for (let position = end; position > 0; ) {
    const length = Math.min(CHUNK_BYTES, position);
    const chunk = Buffer.alloc(length);
    readSync(file, chunk, 0, length, position - length);
    position -= length;
    let bytes = tail.length > 0 ? Buffer.concat([chunk, tail]) : chunk;
    for (let at = lineBreakBefore(bytes); at >= 0; at = lineBreakBefore(bytes)) {
      yield { start: position + at + 1, bytes: bytes.subarray(at + 1) };
      bytes = bytes.subarray(0, at + 1);
    }
    tail = bytes;
  }
  if (tail.length > 0) yield { start: 0, bytes: tail };
}

/** Returns where the line break before the last line is; the last line itself may end in one. */
function lineBreakBefore(bytes: Buffer): number {
  return bytes.length < 2 ? -1 : bytes.lastIndexOf(NEWLINE, bytes.length - 2);
}

function parseEntry(line: Buffer): AuditEntry | undefined {
  try {
    const entry: unknown = JSON.parse(line.toString());
    return typeof entry === 'object' && entry !== null && 'action' in entry ? (entry as AuditEntry) : undefined;
  } catch {
    return undefined;
  }
}

/** Returns whether a user is the subject or the actor of an entry. */
function concerns(entry: AuditEntry, user: string): boolean {
  if (entry.actor === user) return true;
  if (entry.action === 'act-as') return entry.users.includes(user);
  return 'user' in entry && entry.user === user;
}
