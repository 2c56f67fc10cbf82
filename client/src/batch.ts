/** Items that are sent in one request. Once sent, a batch never changes, so its key makes retries safe. */
export interface Batch {
  /** The Idempotency-Key. */
  readonly key: string;
  /** The place in the queue. Whole numbers, except for the parts of a batch that was split. */
  readonly order: number;
  /** The items as JSON, in the order in which they were recorded. */
  readonly items: string[];
  /** The `sub` of the token with which the items were recorded; undefined if there was no token yet. */
  user: string | undefined;
  /** When the batch was first sent without learning whether it was stored, in milliseconds since 1970; 0 if never. */
  sentAt: number;
  /** Size of the items in UTF-8, with separators. */
  bytes: number;
  /** The number of items that were passed to the storage. */
  saved: number;
  /** Whether all items passed to the storage were stored there. */
  isDurable: boolean;
  /** Whether a request with the batch is in flight. */
  isInFlight: boolean;
  /** Whether its timestamps have been corrected. */
  isShifted: boolean;
}

/** Keeps batches beyond the life of a page or process. */
export interface Store {
  /** Resolves with the batches that earlier pages or processes left, which belong to this client from now on. */
  load(): Promise<Batch[]>;
  /**
   * Stores what is new in a batch: items, `user` and `sentAt`. If that fails, it clears `isDurable`.
   *
   * @param isChecked whether to check first that no other page has taken the batch over. Otherwise, the change is stored
   * even if the page ends now
   * @returns whether the batch still belongs to this client
   */
  write(batch: Batch, isChecked?: boolean): Promise<boolean>;
  /** Replaces a batch by others, in one step. */
  replace(batch: Batch, others: readonly Batch[]): void;
  /** Lets other pages or processes take over the batches. */
  release(): void;
  /** Undoes {@link release}, for a page that is shown again. */
  hold?(): Promise<void>;
}

const encoder = new TextEncoder();

/** Returns the size of an item in a batch, in bytes. */
export const sizeOf = (item: string): number => encoder.encode(item).length + 1;

/** Returns 128 random bits as text. Works in insecure contexts, in which there is no `crypto.randomUUID`. */
export const randomId = (): string => crypto.getRandomValues(new Uint32Array(4)).join('-');

/** Creates a batch with a new key. */
export const createBatch = (
  order: number,
  user?: string,
  items: string[] = [],
  key: string = randomId(),
  sentAt = 0,
): Batch => ({
  key,
  order,
  items,
  user,
  sentAt,
  bytes: items.reduce((sum, item) => sum + sizeOf(item), 0),
  saved: 0,
  isDurable: true,
  isInFlight: false,
  isShifted: false,
});

/** A stored change of a batch. */
export interface Change {
  readonly key: string;
  readonly order: number;
  readonly user?: string | undefined;
  readonly sentAt: number;
  /** New items; undefined if the batch is removed. */
  readonly items?: string[];
}

/** Returns what is new in a batch, and marks it as saved. */
export function takeChange(batch: Batch): Change {
  const { key, order, user, sentAt, items, saved } = batch;
  batch.saved = items.length;
  return { key, order, user, sentAt, items: items.slice(saved) };
}

/** Returns the batches that result from stored changes. */
export function batchesOf(changes: readonly Change[]): Batch[] {
  const batches = new Map<string, Batch>();
  for (const { key, order, user, sentAt, items } of changes) {
    if (items) {
      const batch = createBatch(order, user, [...(batches.get(key)?.items ?? []), ...items], key, sentAt);
      batch.saved = batch.items.length;
      batches.set(key, batch);
    } else batches.delete(key);
  }
  return [...batches.values()];
}

/** Returns whether an item is a metric. */
export const isMetric = (item: string): boolean => item.startsWith('{"metric_name"');
