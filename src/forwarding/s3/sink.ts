import { rowOf } from '../../export/encode.ts';
import type { S3Access } from '../../formats/s3.ts';
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

/**
 * Creates a sink that stores rows as Parquet objects in S3, named by the range of their keys.
 *
 * Rows that arrive again after a crash, perhaps in other blocks, are not stored twice: before an object is written, the
 * node's objects whose ranges overlap are read, and rows that are there already are left out.
 *
 * @throws {Error} if the URL is invalid; the message completes a sentence
 */
export function createS3Sink({ url }: SinkOptions, access: S3Access): Sink {
  const { prefix, bucket: bucketWith } = openBucket(url.href, access);

  /** Stores those rows of one day that are not stored yet. */
  async function storeDay({ kind, node }: Block, records: readonly LogRecord[], bucket: Bucket): Promise<void> {
    const [first, last] = [records[0]?.seq ?? 0, records.at(-1)?.seq ?? 0];
    const stored = new Map<string, RecordRow[]>();
    for await (const object of bucket.listAll(dayPrefix(prefix, { kind, node, first }))) {
      const range = rangeOfKey(object.key);
      if (range?.node !== node || range.first > last || range.last < first) continue;
      stored.set(object.key, await decodeStored(object.key, kind, await bucket.read(object)));
    }
    const storedIds = new Set([...stored.values()].flatMap((rows) => rows.map(({ id }) => id)));
    const missing = records.filter(({ id }) => !storedIds.has(id));
    const [firstMissing, lastMissing] = [missing[0], missing.at(-1)];
    if (firstMissing === undefined || lastMissing === undefined) return;
    const key = keyOf(prefix, { kind, node, first: firstMissing.seq, last: lastMissing.seq });
    // an object with the same range that has lost its first and last row to an erasure keeps its other rows
    const rows = [...(stored.get(key) ?? []), ...missing.map(rowOf)].sort((a, b) => a.seq - b.seq);
    await bucket.put(key, encodeParquet(kind, rows));
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
        await storeDay(block, end < 0 ? rest : rest.slice(0, end), bucketWith(signal));
        rest = end < 0 ? [] : rest.slice(end);
      }
      return { rejected: [], postponed: [] };
    },
    erase: (erasure, signal) => eraseFromObjects(bucketWith(signal), prefix, erasure),
    async close() {}, // requests keep no state
  };
}
