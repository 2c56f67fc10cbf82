import { type Batch, createBatch, type Store, sizeOf } from './batch.ts';
import { createClock, GIVEN_TIMESTAMP } from './clock.ts';
import { openDatabaseStore } from './database-store.ts';
import { openFileStore } from './file-store.ts';
import { GATHER_MS, KEY_MS, MAX_ITEMS, MAX_KEEPALIVE_BYTES, MIN_ITEMS, TAKE_OVER_MS, TOKEN_MS } from './limits.ts';
import { isOnline, watchPage } from './page.ts';
import { afterRejection } from './rejection.ts';
import { createReporter } from './report.ts';
import { type Outcome, post } from './request.ts';
import { delayAfter, unref } from './schedule.ts';
import { userOf } from './token.ts';
import type { Client, ClientOptions, Item, RecordOptions } from './types.ts';

export type { Client, ClientOptions, Event, Item, Metric, RecordOptions, Rejection } from './types.ts';

/**
 * Creates a client that sends metrics and events in batches, and keeps them until they are stored.
 *
 * @throws {Error} if the file `storage.path` cannot be used
 */
export function createClient({ url, token, onRejected, storage = 'auto' }: ClientOptions): Client {
  const server = url.replace(/\/+$/, '');
  const isPage = typeof document === 'object';
  /** Largest size of all queued items, in bytes. */
  const maxBytes = isPage ? 4 << 20 : 64 << 20;
  /** Largest size of a batch of several items, in bytes. In a page, it must fit into a request with `keepalive`. */
  const maxBatchBytes = isPage ? 60_000 : 500_000;
  let maxItems = MAX_ITEMS;
  const clock = createClock();

  /** Batches in the order in which they are sent. */
  const queue: Batch[] = [];
  let bytes = 0;
  let lastOrder = 0;
  /** The batch that new items join, and whether it has waited long enough for others. */
  let open: Batch | undefined;
  let isGathered = false;
  let gathering: ReturnType<typeof setTimeout> | undefined;
  let store: Store | undefined;
  /** Batches with items that were not passed to the storage. */
  const unsaved = new Set<Batch>();

  let currentToken = typeof token === 'string' ? token : '';
  let user = userOf(currentToken);
  let isTokenRejected = false;

  let sending: Promise<void> | undefined;
  let keepaliveBytes = 0;
  let failures = 0;
  /** Ends the delay before the next attempt, and whether the server has not asked for it. */
  let wake: (() => void) | undefined;
  let canWakeEarly = true;
  let isClosed = false;
  let closing: Promise<void> | undefined;
  let flushes: { order: number; resolve: () => void }[] = [];

  const reject = createReporter(onRejected);

  /** Whether a batch may be sent with the current token. */
  const isOurs = (batch: Batch) => batch.user === undefined || user === undefined || batch.user === user;

  /** Removes a batch from the queue, and puts others in its place. */
  function replace(batch: Batch, others: Batch[] = [], isStored = true): void {
    const index = queue.indexOf(batch);
    if (index < 0) return;
    queue.splice(index, 1, ...others);
    bytes += others.reduce((sum, other) => sum + other.bytes, -batch.bytes);
    unsaved.delete(batch);
    if (open === batch) open = undefined;
    if (isStored) store?.replace(batch, others);
    endFlushes();
  }

  /** Resolves the calls of `flush` that wait for nothing more. */
  function endFlushes(isOver?: boolean): void {
    flushes = flushes.filter(({ order, resolve }) => {
      const isWaiting = !isOver && queue.some((batch) => batch.order < order + 1 && isOurs(batch));
      if (!isWaiting) resolve();
      return isWaiting;
    });
  }

  /** Removes a batch and hands its items back. */
  function handBack(batch: Batch, code: string): void {
    // first: the callback may record items
    replace(batch);
    reject(parse(batch.items), code);
  }

  function evict(): void {
    while (bytes > maxBytes) {
      // sent batches may be stored already
      const oldest = queue.find((batch) => !batch.isInFlight && !batch.sentAt);
      if (!oldest) return;
      handBack(oldest, 'queue_full');
    }
  }

  function save(): void {
    if (!store) return;
    for (const batch of unsaved) void store.write(batch);
    unsaved.clear();
  }

  function record(item: Item, options: RecordOptions | undefined, isValid: boolean) {
    try {
      if (isClosed) return reject([item], 'closed');
      const given = options?.timestamp;
      const isGiven = given !== undefined;
      if (isGiven) item.timestamp = typeof given === 'string' ? given : new Date(given).toISOString();
      else item.timestamp = clock.now();
      if (!isValid) throw new TypeError('invalid name, value or data');
      enqueue(JSON.stringify(item) + (isGiven ? GIVEN_TIMESTAMP : ''));
    } catch (error) {
      reject([item], 'invalid_item', `${error}`);
    }
  }

  function enqueue(text: string): void {
    const size = sizeOf(text);
    if (size > maxBytes) throw new RangeError('too large');
    if (open && (open.items.length >= maxItems || open.bytes + size > maxBatchBytes || open.user !== user)) {
      open = undefined;
      void send();
    }
    if (!open) {
      lastOrder = Math.max(lastOrder + 1, Date.now());
      open = createBatch(lastOrder, user);
      queue.push(open);
      isGathered = false;
      clearTimeout(gathering);
      gathering = setTimeout(() => {
        isGathered = true;
        void send();
      }, GATHER_MS);
    }
    open.items.push(text);
    open.bytes += size;
    bytes += size;
    if (typeof storage === 'object') void store?.write(open);
    else if (unsaved.add(open).size === 1) queueMicrotask(save);
    evict();
  }

  /** Gets a token if there is none, or the server has rejected it. Resolves with whether there is one. */
  async function authorize(): Promise<boolean> {
    if (typeof token !== 'function' || (currentToken && !isTokenRejected)) return !!currentToken;
    try {
      const timeout = () => new Promise<string>((_, stop) => unref(setTimeout(stop, TOKEN_MS)));
      currentToken = await Promise.race([token(), timeout()]);
      user = userOf(currentToken);
    } catch {
      return false;
    }
    return !!currentToken;
  }

  /** Sends what is due, in order, until nothing is left. Runs once at a time. */
  function send(): Promise<void> {
    sending ??= sendAll();
    return sending;
  }

  const isDue = (batch: Batch) =>
    !batch.isInFlight && isOurs(batch) && (batch !== open || isGathered || flushes.length > 0 || isClosed);

  /** Whether a batch may be stored although the server no longer knows its key. */
  const isExpired = ({ sentAt }: Batch) => sentAt > 0 && Date.now() - sentAt > KEY_MS;

  async function sendAll(): Promise<void> {
    await ready;
    while (queue.some(isDue)) {
      let delayMs = 0;
      canWakeEarly = true;
      const hasToken = isOnline() && (await authorize());
      const batch = queue.find(isDue);
      if (!hasToken) delayMs = delayAfter(++failures, 0);
      else if (batch && isExpired(batch)) {
        handBack(batch, 'outcome_unknown');
      } else if (batch) delayMs = await sendBatch(batch);
      if (delayMs && !isClosed) await pause(delayMs);
      if (delayMs && isClosed) break;
    }
    sending = undefined;
    endFlushes();
  }

  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      wake = () => {
        wake = undefined;
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(wake, delayMs);
      unref(timer);
    });
  }

  /**
   * Sends a batch. Resolves with the delay before the next attempt, in milliseconds; 0 if the queue may continue.
   *
   * @param isEnding whether the page may end now: then the request starts at once, without waiting for the storage
   */
  async function sendBatch(batch: Batch, isEnding?: boolean): Promise<number> {
    const { sentAt } = batch;
    if (batch === open) open = undefined;
    batch.isInFlight = true;
    batch.sentAt ||= Date.now();
    batch.user ??= user;
    unsaved.delete(batch);
    // the key and the items of a batch are stored before they are sent
    const isWritten = store?.write(batch, !isEnding);
    if (isWritten && !isEnding && !(await isWritten)) {
      replace(batch, [], false); // another page has taken it over
      return 0;
    }
    const size = batch.bytes;
    const keepalive = isPage && failures === 0 && keepaliveBytes + size <= MAX_KEEPALIVE_BYTES;
    if (keepalive) keepaliveBytes += size;
    const outcome = await post(server, batch, currentToken, keepalive);
    if (keepalive) keepaliveBytes -= size;
    batch.isInFlight = false;
    if (outcome.clockAheadMs !== undefined) clock.compare(outcome.clockAheadMs);
    return settle(batch, outcome, sentAt);
  }

  /** Applies the outcome of a request to the queue. Returns the delay before the next attempt, in milliseconds. */
  function settle(batch: Batch, outcome: Outcome, sentAt: number): number {
    const { status, code, retryAfterMs } = outcome;
    if (outcome.isStored) {
      failures = 0;
      isTokenRejected = false;
      replace(batch);
      return 0;
    }
    if (outcome.isTemporary || status === 401) {
      if (!outcome.isUnknown && batch.sentAt !== sentAt) {
        batch.sentAt = sentAt;
        void store?.write(batch);
      }
      const wasRejected = isTokenRejected;
      isTokenRejected = status === 401;
      if (isTokenRejected && !wasRejected && typeof token === 'function') return 0;
      canWakeEarly = !retryAfterMs;
      return delayAfter(++failures, retryAfterMs);
    }
    failures = 0;
    const next = queue[queue.indexOf(batch) + 1];
    const others = afterRejection(batch, outcome, clock, next?.order, (items, reason) =>
      reject(parse(items), code, reason, status),
    );
    if (others.length > 1) maxItems = Math.max(batch.items.length >> 1, MIN_ITEMS);
    replace(batch, others);
    return 0;
  }

  /** Sends what fits while the page may end. */
  function sendBeforeEnd(): void {
    save();
    if (!currentToken || wake || !isOnline()) return;
    // the newest first: the page may end before they are stored
    for (const batch of [...queue].reverse()) {
      if (
        batch.isInFlight ||
        !isOurs(batch) ||
        isExpired(batch) ||
        keepaliveBytes + batch.bytes > MAX_KEEPALIVE_BYTES
      ) {
        continue;
      }
      void sendBatch(batch, true).then((delayMs) => delayMs && setTimeout(send, delayMs));
    }
  }

  function adopt(batches: readonly Batch[]): void {
    for (const batch of batches) {
      queue.push(batch);
      bytes += batch.bytes;
      lastOrder = Math.max(lastOrder, Math.floor(batch.order));
    }
    queue.sort((a, b) => a.order - b.order);
    evict();
    if (batches.length > 0) void send();
  }

  async function openStore(): Promise<void> {
    try {
      const opened = store ?? (await openDatabaseStore(`rawlog ${server}`));
      const batches = await opened.load();
      store = opened;
      adopt(batches);
      save();
    } catch {
      // the memory is left
    }
  }

  async function shutDown(): Promise<void> {
    clearTimeout(gathering);
    clearInterval(takingOver);
    wake?.();
    save();
    await send();
    for (const batch of [...queue]) {
      if (!store || !batch.isDurable) handBack(batch, 'closed');
    }
    endFlushes(true);
    watching.abort();
    store?.release();
  }

  if (typeof storage === 'object') store = openFileStore(storage.path);
  // the token tells whose items these are
  const ready = Promise.all([storage === 'memory' || openStore(), authorize()]);
  const takingOver = isPage ? setInterval(() => store && queue.length === 0 && openStore(), TAKE_OVER_MS) : undefined;
  const watching = watchPage({
    hidden: sendBeforeEnd,
    left() {
      sendBeforeEnd();
      store?.release();
    },
    resumed() {
      open = undefined; // another page may have taken it over
      store?.hold?.().catch(() => {});
    },
    online() {
      failures = 0;
      if (canWakeEarly) wake?.();
    },
  });

  return {
    metric: (name, value, label, options) =>
      record(
        { metric_name: name, metric_value: value, data_string: label || undefined },
        options,
        typeof name === 'string' && name !== '' && Number.isFinite(value),
      ),
    track: (type, data = {}, index, options) =>
      record(
        { type, data, data_index: index || undefined },
        options,
        typeof type === 'string' && typeof data === 'object' && data !== null && !Array.isArray(data),
      ),
    async flush() {
      await ready;
      if (isClosed) return closing;
      if (!queue.some(isOurs)) return;
      return new Promise((resolve) => {
        flushes.push({ order: lastOrder, resolve });
        void send();
      });
    },
    close() {
      isClosed = true;
      closing ??= shutDown();
      return closing;
    },
  };
}

function parse(items: readonly string[]): Item[] {
  return items.map((item) => JSON.parse(item) as Item);
}
