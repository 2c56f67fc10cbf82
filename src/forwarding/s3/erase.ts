import { createHash } from 'node:crypto';
import type { StoredObject } from '../../object-store.ts';
import type { CheckedConditions } from '../../object-versions.ts';
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

/** The bucket to erase from. */
export interface ErasureTarget {
  readonly bucket: Bucket;
  readonly prefix: string;
  /** The node that erases. */
  readonly node: string;
  /** Called if the service does not check conditions, although other nodes write to the prefix. */
  readonly onUnchecked: () => void;
}

/**
 * Erases the rows of a user up to the cutoff from all objects of a prefix, whichever node wrote them: objects with such
 * rows are written again without them, and those without other rows are deleted.
 *
 * Other nodes can do the same at the same moment for other users. So each object is changed only if it is still as it was
 * read, and otherwise read again.
 *
 * Every object is read, so the progress is stored in the bucket: after an error or a restart, the erasure resumes. Each
 * node has its own, since it may have stored further objects after another one has read those before.
 */
export async function eraseFromObjects(
  { bucket, prefix, node, onUnchecked }: ErasureTarget,
  { userId, cutoffSeq }: SinkErasure,
): Promise<void> {
  const hash = createHash('sha256').update(userId).digest('hex');
  const progressKey = `${prefix}erasures/${hash}-${cutoffSeq}-${node}`;
  let conditions: CheckedConditions | undefined;
  let isShared = false;
  let objects = 0;

  async function eraseOne(object: StoredObject): Promise<void> {
    const range = rangeOfKey(object.key);
    if (range === undefined || range.first > cutoffSeq) return;
    isShared ||= range.node !== node;
    await bucket.changing(async () => {
      const read = await bucket.read(object.key);
      if (read === undefined) return; // another node has deleted it
      const rest = await restOf(object.key, range.kind, read.content, { userId, cutoffSeq });
      if (rest === undefined) return;
      conditions = await bucket.conditions(`${prefix}erasures/conditions-${node}`);
      // a node can store rows in an object that has just become empty: then only a conditional request may change it
      const isRemoved = rest.length === 0 && (conditions.removals || !conditions.writes);
      if (isRemoved) await bucket.remove(object.key, read);
      else await bucket.put(object.key, encodeParquet(range.kind, rest), read);
    });
  }

  const progress = await bucket.read(progressKey);
  const resumedAfter = progress && new TextDecoder().decode(progress.content);
  let isStored = progress !== undefined;
  let part: StoredObject[] = [];
  const erasePart = async () => {
    const erased = part;
    part = [];
    await Promise.all(erased.map((object) => eraseOne(object)));
    const before = objects;
    objects += erased.length;
    const last = erased.at(-1);
    if (last && Math.floor(objects / PROGRESS_OBJECTS) > Math.floor(before / PROGRESS_OBJECTS)) {
      await bucket.changing(async () => bucket.put(progressKey, last.key, await bucket.read(progressKey)));
      isStored = true;
    }
  };
  for await (const object of bucket.listAll(`${prefix}kind=`, resumedAfter)) {
    part.push(object);
    if (part.length === PARALLEL) await erasePart();
  }
  await erasePart();
  if (conditions?.writes === false && isShared) onUnchecked();
  if (!isStored) return;
  await bucket.changing(async () => {
    const stored = await bucket.read(progressKey);
    if (stored) await bucket.remove(progressKey, stored);
  });
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
