import { rowOf } from '../../export/encode.ts';
import type { S3Access } from '../../formats/s3.ts';
import type { ObjectVersion } from '../../object-versions.ts';
import type { LogRecord } from '../../records.ts';
import type { RecordRow } from '../../storage/records.ts';
import type { Block, Sink, SinkOptions } from '../sink.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { eraseFromObjects } from './erase.ts';
import { dayOf, dayPrefix, keyOf, rangeOfKey } from './object-key.ts';
import { encodeParquet } from './parquet-rows.ts';
import { decodeStored } from './stored-rows.ts';

/**
 * An object per minute and kind, or per 100,000 rows: small objects cost more to store and to query than they contain, and
 * a block is in memory.
 */
const LIMITS = { rows: 100_000, bytes: 32 * 1024 ** 2, intervalMs: 60_000 };
/** The warning about a service without conditional writes. */
const UNCHECKED =
  'the S3 service does not support conditional writes (If-Match): erasures of two servers at the same moment can undo each other';

/**
 * Creates a sink that stores rows as Parquet objects in S3, named by the range of their keys.
 *
 * Rows that arrive again after a crash, perhaps in other blocks, are not stored twice: before an object is written, the
 * node's objects whose ranges overlap are read, and rows that are there already are left out. The object is stored only if
 * it is still as it was read: another node may erase rows, and a request that was given up may be executed late.
 *
 * @throws {Error} if the URL is invalid; the message completes a sentence
 */
export function createS3Sink({ url, node: ownNode, onWarning }: SinkOptions, access: S3Access): Sink {
  const { prefix, bucket: bucketWith } = openBucket(url.href, access);

  /** Stores those rows of one day that are not stored yet. */
  async function storeDay({ kind, node }: Block, records: readonly LogRecord[], bucket: Bucket): Promise<void> {
    const [first, last] = [records[0]?.seq ?? 0, records.at(-1)?.seq ?? 0];
    const stored = new Map<string, ObjectVersion & { readonly rows: RecordRow[] }>();
    for await (const object of bucket.listAll(dayPrefix(prefix, { kind, node, first }))) {
      const range = rangeOfKey(object.key);
      if (range?.node !== node || range.first > last || range.last < first) continue;
      const read = await bucket.read(object.key);
      if (!read) continue; // another node has erased all of its rows
      stored.set(object.key, { etag: read.etag, rows: await decodeStored(object.key, kind, read.content) });
    }
    const storedIds = new Set([...stored.values()].flatMap(({ rows }) => rows.map(({ id }) => id)));
    const missing = records.filter(({ id }) => !storedIds.has(id));
    const [firstMissing, lastMissing] = [missing[0], missing.at(-1)];
    if (firstMissing === undefined || lastMissing === undefined) return;
    const key = keyOf(prefix, { kind, node, first: firstMissing.seq, last: lastMissing.seq });
    // an object with the same range that has lost its first and last row to an erasure keeps its other rows
    const version = stored.get(key);
    const rows = [...(version?.rows ?? []), ...missing.map(rowOf)].sort((a, b) => a.seq - b.seq);
    await bucket.put(key, encodeParquet(kind, rows), version);
  }

  return {
    limits: LIMITS,
    async prepare(signal) {
      // reports a missing bucket, rejected credentials and the like
      for await (const _ of bucketWith(signal).listAll(prefix)) break;
    },
    async deliver(block, signal) {
      for (let rest = block.records; rest.length > 0; ) {
        const day = dayOf(rest[0]?.seq ?? 0);
        const end = rest.findIndex(({ seq }) => dayOf(seq) !== day);
        const records = end < 0 ? rest : rest.slice(0, end);
        const bucket = bucketWith(signal);
        await bucket.changing(() => storeDay(block, records, bucket));
        rest = end < 0 ? [] : rest.slice(end);
      }
      return { rejected: [], postponed: [] };
    },
    erase: (erasure, signal) =>
      eraseFromObjects(
        { bucket: bucketWith(signal), prefix, node: ownNode, onUnchecked: () => onWarning?.(UNCHECKED) },
        erasure,
      ),
    async close() {}, // requests keep no state
  };
}
