import type { Kind } from '../records.ts';
import { blankKeys, type RemovalContext } from './blanking.ts';
import type { ExpiredSeries } from './columns/expired-keys.ts';
import type { UnfinishedDeletion } from './deletion-list.ts';
import { INTERRUPTIBLE, type Job, type TransactionLimits } from './job.ts';
import type { RowSum } from './records.ts';
import { createCheckpointer } from './wal.ts';

/*
 * Deletions of all rows of a name, or of those before a time. Their rows are found through the chunks, so that nothing else
 * is read, and those of all names are blanked together, in the order of the table: a page usually has rows of many names,
 * and would be written once for each.
 */

/** Number of rows after which other jobs may run, and the write-ahead log is copied if it has grown. */
const ROWS_PER_STEP = 8_192;

/** Returns whether a deletion concerns all rows of a name, or those before a time. */
export function isExpiry({ filter }: Pick<UnfinishedDeletion, 'filter'>): boolean {
  const { name: _name, to: _to, ...others } = filter;
  return Object.values(others).every((value) => value === undefined || (Array.isArray(value) && value.length === 0));
}

/** Returns the rows of the series of a name that such a deletion concerns. */
export function expiredBy(
  { store }: Pick<RemovalContext, 'store'>,
  { kind, filter, cutoffSeq }: Omit<UnfinishedDeletion, 'id'>,
): ExpiredSeries[] {
  const before = filter.to ?? Number.MAX_SAFE_INTEGER;
  return store.sealedSeries(kind, [filter.name]).map(({ id: seriesId }) => ({ seriesId, before, cutoffSeq }));
}

/**
 * Blanks the rows of deletions of a kind. Their rows must be sealed. Other jobs run between its steps; it ends early if one of
 * them rebuilds the column store.
 *
 * @param expiries deletions for which {@link isExpiry} is true
 * @param limits of each transaction
 * @param onBlanked called with the keys of the rows after each transaction
 * @returns the rows
 */
export function* blankExpired(
  context: RemovalContext,
  kind: Kind,
  expiries: readonly UnfinishedDeletion[],
  limits?: TransactionLimits,
  onBlanked?: (seqs: readonly number[]) => void,
): Job<RowSum> {
  const { client, store } = context;
  const { loads } = store;
  const series = expiries.flatMap((deletion) => expiredBy(context, deletion));
  const before = Math.max(...series.map((each) => each.before));
  const expired = store.removal.expiredKeys(series);
  const checkpointIfDue = createCheckpointer(client);
  const total = { rows: 0, bytes: 0 };
  while (store.loads === loads) {
    const keys = yield* expired.next();
    if (!keys) break;
    for (let at = 0; at < keys.length; at += ROWS_PER_STEP) {
      const step = keys.subarray(at, at + ROWS_PER_STEP);
      const { rows, bytes } = yield* blankKeys(context, kind, step, before, limits, onBlanked);
      total.rows += rows;
      total.bytes += bytes;
      if (step.length === ROWS_PER_STEP) checkpointIfDue();
      yield INTERRUPTIBLE;
    }
  }
  return total;
}
