import { createHash } from 'node:crypto';
import type { StoredObject } from '../../object-store.ts';
import type { Kind } from '../../records.ts';
import type { RecordRow } from '../../storage/records.ts';
import type { SinkErasure } from '../sink.ts';
import type { Bucket } from './bucket.ts';
import { rangeOfKey } from './object-key.ts';
import { encodeParquet } from './parquet-rows.ts';
import { decodeStored, readStored } from './stored-rows.ts';

/** Objects that are read at once. */
const PARALLEL = 4;
/** Objects after which the progress is stored. */
const PROGRESS_OBJECTS = 40;

/**
 * Erases the rows of a user up to the cutoff from all objects of a prefix, whichever node wrote them: objects with such
 * rows are written again without them, and those without other rows are deleted.
 *
 * Every object is read, so the progress is stored in the bucket: after an error or a restart, the erasure resumes.
 */
export async function eraseFromObjects(
  bucket: Bucket,
  prefix: string,
  { userId, cutoffSeq }: SinkErasure,
): Promise<void> {
  const hash = createHash('sha256').update(userId).digest('hex');
  const progressKey = `${prefix}erasures/${hash}-${cutoffSeq}`;
  let isStored = false;
  let objects = 0;

  async function eraseOne(object: StoredObject): Promise<void> {
    const range = rangeOfKey(object.key);
    if (range === undefined || range.first > cutoffSeq) return;
    const bytes = await bucket.read(object);
    const rest = await restOf(object.key, range.kind, bytes, { userId, cutoffSeq });
    if (rest === undefined) return;
    if (rest.length > 0) await bucket.put(object.key, encodeParquet(range.kind, rest));
    else await bucket.remove(object.key);
  }

  const resumedAfter = await bucket.readText(progressKey);
  let part: StoredObject[] = [];
  const erasePart = async () => {
    const erased = part;
    part = [];
    await Promise.all(erased.map((object) => eraseOne(object)));
    const before = objects;
    objects += erased.length;
    const last = erased.at(-1);
    if (last && Math.floor(objects / PROGRESS_OBJECTS) > Math.floor(before / PROGRESS_OBJECTS)) {
      await bucket.put(progressKey, last.key);
      isStored = true;
    }
  };
  for await (const object of bucket.listAll(`${prefix}kind=`, resumedAfter)) {
    part.push(object);
    if (part.length === PARALLEL) await erasePart();
  }
  await erasePart();
  if (isStored || resumedAfter !== undefined) await bucket.remove(progressKey);
}

/** Returns the rows that stay, or undefined if none is erased. */
async function restOf(
  key: string,
  kind: Kind,
  bytes: Uint8Array,
  { userId, cutoffSeq }: Pick<SinkErasure, 'userId' | 'cutoffSeq'>,
): Promise<RecordRow[] | undefined> {
  if (!(await hasUser(key, bytes, userId))) return undefined;
  const rows = await decodeStored(key, kind, bytes);
  const rest = rows.filter(({ user_id, seq }) => user_id !== userId || seq > cutoffSeq);
  return rest.length < rows.length ? rest : undefined;
}

async function hasUser(key: string, bytes: Uint8Array, userId: string): Promise<boolean> {
  for await (const rows of readStored(key, bytes, ['user_id'])) {
    if (rows.some(({ user_id }) => user_id === userId)) return true;
  }
  return false;
}
