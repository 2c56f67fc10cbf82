import { constants, readFileSync } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDurableFolder } from '../durable-folder.ts';
import { giveToFolderOwner } from '../file-owner.ts';
import type { Database } from '../storage/database.ts';
import { fingerprintOf, readErasureKey, readErasures } from '../storage/erasure-list.ts';
import {
  createErasureLog,
  type ErasureLog,
  type ErasureLogContent,
  encodeErasure,
  identityOf,
  type LoggedErasure,
  parseErasure,
} from './erasure-entry.ts';

/*
 * The erasure log in a folder: a copy of the erasure list next to the backups, so that a restore erases again the users
 * who were erased after the backup. Each line is an entry.
 */

/** The name of the log in its folder. */
export const ERASURE_LOG_NAME = 'rawlog-erasures.log';

/** What identifies a log that only this process appends to. */
interface LogIdentity {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
}

/**
 * Opens the erasure log in a folder, which is created if necessary. Its updates also complete a log that was moved or
 * replaced.
 *
 * @param client a connection to the database; no other process may append to the log
 */
export function openFolderErasureLog(folder: string, databasePath: string, client: Database): ErasureLog {
  const path = join(folder, ERASURE_LOG_NAME);
  /** The last erasure that is in the log; undefined until the log was read. */
  let lastId: number | undefined;
  /** The log after the last update; undefined if there was none. */
  let last: LogIdentity | undefined;

  return createErasureLog(async () => {
    const found = await identify(path);
    if (found?.dev !== last?.dev || found?.ino !== last?.ino || found?.size !== last?.size) lastId = undefined;
    const listed = readErasures(client, lastId);
    if (listed.length > 0) {
      const key = readErasureKey(databasePath);
      if (!key) throw new Error('the key of the erasure list is missing');
      const fingerprint = fingerprintOf(key);
      const logged = lastId === undefined && found ? parseErasureLog(await readFile(path, 'utf8')).erasures : [];
      const known = new Set(logged.map(identityOf));
      const added = listed
        .map((erasure) => ({ ...erasure, key: fingerprint }))
        .filter((erasure) => !known.has(identityOf(erasure)));
      if (added.length > 0) await append(folder, path, added);
    }
    last = await identify(path);
    lastId = listed.at(-1)?.id ?? lastId ?? 0;
  });
}

/** Returns the identity of a log; undefined if there is none. */
async function identify(path: string): Promise<LogIdentity | undefined> {
  try {
    const { dev, ino, size } = await stat(path);
    return { dev, ino, size };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/**
 * Reads an erasure log; it has no content if it does not exist. An incomplete line at its end is not damage: it belongs to
 * an erasure that was never acknowledged, and the next append removes it.
 */
export function readErasureLog(path: string): ErasureLogContent {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
  return parseErasureLog(text);
}

function parseErasureLog(content: string): ErasureLogContent {
  const lines = content.split('\n');
  const last = lines.pop(); // empty, or a line without its end
  const erasures: LoggedErasure[] = [];
  let damaged = 0;
  for (const text of lines) {
    const erasure = parseErasure(text);
    if (erasure) erasures.push(erasure);
    else if (text !== '') damaged++;
  }
  if (last !== undefined) {
    const erasure = parseErasure(last);
    if (erasure) erasures.push(erasure);
  }
  return { erasures, damaged };
}

/** Appends erasures to the log, with one write. */
async function append(folder: string, path: string, erasures: readonly LoggedErasure[]): Promise<void> {
  // if the file system hangs, this waits before anything can block
  if (!(await identify(folder))) makeDurableFolder(folder);
  const isNew = !(await identify(path));
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = constants;
  const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    if (isNew) await giveToFolderOwner(file, folder);
    await removeTornLine(file, path);
    const bytes = Buffer.from(erasures.map((erasure) => `${encodeErasure(erasure)}\n`).join(''));
    for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
    await file.sync();
  } finally {
    await file.close();
  }
  if (!isNew) return;
  const entries = await open(folder, 'r');
  try {
    await entries.sync();
  } finally {
    await entries.close();
  }
}

/**
 * Removes an incomplete line at the end of the log. A crash has left it in the middle of an append, before the erasure was
 * acknowledged.
 *
 * @param file the log, open for appending
 */
async function removeTornLine(file: FileHandle, path: string): Promise<void> {
  const { size } = await file.stat();
  const lastByte = Buffer.alloc(1);
  if (size > 0) await file.read(lastByte, 0, 1, size - 1);
  if (size === 0 || lastByte.toString() === '\n') return;
  const content = await readFile(path);
  const start = content.lastIndexOf('\n') + 1;
  if (parseErasure(content.toString('utf8', start)))
    await file.write('\n'); // it lacks only its end
  else await file.truncate(start);
}
