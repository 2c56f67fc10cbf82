import { type Batch, createBatch } from './batch.ts';
import type { Clock } from './clock.ts';
import type { Outcome } from './request.ts';

/**
 * Returns the batches that replace one that the server has rejected for good, with new keys. Times that are ahead of the
 * server's clock are corrected; otherwise, invalid items are removed; otherwise, a batch that may be too large, or have an
 * item that makes it unreadable, is split.
 *
 * @param nextOrder the place of the next batch in the queue
 * @param handBack is called with items that will not be stored
 */
export function afterRejection(
  batch: Batch,
  { status, message, invalid }: Outcome,
  clock: Clock,
  nextOrder = Infinity,
  handBack: (items: string[], reason: string) => void,
): Batch[] {
  const { items, order, user } = batch;
  const corrected = items.map(clock.correct);
  const isAhead = [...invalid.values()].some(({ loc }) => loc[3] === 'timestamp');
  if (isAhead && !batch.isShifted && `${corrected}` !== `${items}`) {
    const shifted = createBatch(order, user, corrected);
    shifted.isShifted = true;
    return [shifted];
  }
  if (invalid.size > 0) {
    const rest = items.filter((item) => {
      const issue = invalid.get(item);
      if (issue) handBack([item], `${issue.loc.slice(3).join('.')}: ${issue.msg}`);
      return !issue;
    });
    return rest.length > 0 ? [createBatch(order, user, rest)] : [];
  }
  if (items.length > 1 && [400, 413, 422].includes(status)) {
    const middle = items.length >> 1;
    const end = Math.min(nextOrder, Math.floor(order) + 1);
    return [
      createBatch(order, user, items.slice(0, middle)),
      createBatch((order + end) / 2, user, items.slice(middle)),
    ];
  }
  handBack(items, message);
  return [];
}
