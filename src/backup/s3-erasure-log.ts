import { parseS3Prefix, type S3Access } from '../formats/s3.ts';
import { openObjectStore, type StoredObject } from '../object-store.ts';
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
 * The erasure log in S3, where nothing can be appended to an object: each entry is an object. Its name follows from the
 * erasure, so it can be written again without harm.
 */

/** What the names of the entries begin with, after the prefix of the backups. */
const ENTRIES = 'rawlog-erasures/';
/** The end of their names: see {@link identityOf}. Other objects, such as the markers of folders, are none. */
const ENTRY_KEY = /\/[0-9a-f]+-\d+$/;
/** Entries that are read or written at once. */
const PARALLEL_ENTRIES = 8;

/**
 * Opens the erasure log at a prefix in S3. The first update also adds all older erasures that are missing.
 *
 * @param access returns how to reach S3, which may change
 * @param client a connection to the database
 */
export function openS3ErasureLog(
  url: string,
  access: () => S3Access,
  databasePath: string,
  client: Database,
): ErasureLog {
  const { bucket, key } = parseS3Prefix(url);
  const prefix = key + ENTRIES;
  /** The last erasure that is in the log; undefined until the log was listed. */
  let lastId: number | undefined;

  return createErasureLog(async () => {
    const listed = readErasures(client, lastId);
    const store = openObjectStore(bucket, access());
    const known = new Set<string>();
    if (lastId === undefined && listed.length > 0) {
      for await (const entry of store.list(prefix)) known.add(entry.key.slice(prefix.length));
    }
    const missing = listed.filter((erasure) => !known.has(identityOf(erasure)));
    if (missing.length > 0) {
      const secret = readErasureKey(databasePath);
      if (!secret) throw new Error('the key of the erasure list is missing');
      const fingerprint = fingerprintOf(secret);
      await inParallel(missing, (erasure) =>
        store.put(prefix + identityOf(erasure), `${encodeErasure({ ...erasure, key: fingerprint })}\n`),
      );
    }
    lastId = listed.at(-1)?.id ?? lastId ?? 0;
  });
}

/** Reads the erasure log at a prefix in S3; undefined if there is none. */
export async function readS3ErasureLog(url: string, access: S3Access): Promise<ErasureLogContent | undefined> {
  const { bucket, key } = parseS3Prefix(url);
  const store = openObjectStore(bucket, access);
  const entries: StoredObject[] = [];
  for await (const entry of store.list(key + ENTRIES)) if (ENTRY_KEY.test(entry.key)) entries.push(entry);
  if (entries.length === 0) return undefined;
  const erasures: LoggedErasure[] = [];
  await inParallel(entries, async (entry) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of store.read(entry)) pieces.push(piece);
    const erasure = parseErasure(Buffer.concat(pieces).toString().trimEnd());
    if (erasure) erasures.push(erasure);
  });
  return { erasures, damaged: entries.length - erasures.length };
}

/** Processes items, a few at once. */
async function inParallel<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += PARALLEL_ENTRIES) {
    await Promise.all(items.slice(at, at + PARALLEL_ENTRIES).map(work));
  }
}
