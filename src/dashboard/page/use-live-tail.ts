import { EventSourceParserStream } from 'eventsource-parser/stream';
import { useContext, useEffect, useState } from 'preact/hooks';
import {
  type LogRecord,
  parseExact,
  type QueryParameters,
  queryUrl,
  type RequestError,
  request,
  toRequestError,
} from './api.ts';
import { QuerySessionContext } from './use-query.ts';

/** Number of rows kept, newest first. More would slow down the page. */
const MAX_ROWS = 500;
/** Delay between renders, in milliseconds. Rendering every row as it arrives would freeze the page. */
const RENDER_INTERVAL_MS = 250;
/** Delay before reconnecting, in milliseconds: the first, and the maximum. Doubles after each attempt. */
const RECONNECT_DELAY_MS = { first: 500, max: 10_000 };
/** Time without data after which the connection counts as dead. The server sends a heartbeat every 10 seconds. */
const IDLE_TIMEOUT_MS = 25_000;

/** The state of a live tail since it was opened. */
export interface LiveTail {
  readonly state: 'closed' | 'connecting' | 'open';
  /** Newest first. */
  readonly records: readonly LogRecord[];
  /** Number of records received, including those no longer kept. */
  readonly count: number;
  /** Number of records that the server dropped because they arrived too fast, or this page read too slowly. */
  readonly skipped: number;
  /** Whether the server is one of several nodes, and sends only its own records. */
  readonly isOfNode: boolean;
  readonly error: RequestError | undefined;
}

const INITIAL: LiveTail = { state: 'connecting', records: [], count: 0, skipped: 0, isOfNode: false, error: undefined };

/**
 * Subscribes to records as they are committed, and reconnects when the connection breaks. Closes the connection while
 * the page is hidden, because browsers limit the number of connections per server.
 *
 * @param path undefined: no subscription
 * @param onOpen called on each connect; the tail is then empty, and earlier records must be queried
 */
export function useLiveTail(path: string | undefined, query: QueryParameters, onOpen: () => void): LiveTail {
  const { token, onUnauthorized, onReachable } = useContext(QuerySessionContext);
  const [tail, setTail] = useState<LiveTail>(INITIAL);
  const isHidden = useIsPageHidden();
  const url = path === undefined || isHidden ? undefined : queryUrl(path, query);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the URL covers path and query
  useEffect(() => {
    setTail(url === undefined ? { ...INITIAL, state: 'closed' } : INITIAL);
    if (url === undefined) return;
    const unsubscribed = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let delayMs = RECONNECT_DELAY_MS.first;

    const readEvents = async () => {
      const idle = new AbortController();
      const batch = createBatch((change) => setTail(change));
      let idleTimer: ReturnType<typeof setTimeout> | undefined;
      const resetIdleTimer = () => {
        clearTimeout(idleTimer);
        idleTimer = setTimeout(() => idle.abort(), IDLE_TIMEOUT_MS);
      };
      try {
        resetIdleTimer();
        const { body } = await request(url, token, AbortSignal.any([unsubscribed.signal, idle.signal]));
        onReachable(true);
        const text = body?.pipeThrough(onEachChunk(resetIdleTimer)).pipeThrough(new TextDecoderStream());
        for await (const { event, data } of text?.pipeThrough(new EventSourceParserStream()) ?? []) {
          if (event === 'open') {
            delayMs = RECONNECT_DELAY_MS.first;
            const { scope } = JSON.parse(data) as { scope?: string }; // as the server sends it
            setTail({ ...INITIAL, state: 'open', isOfNode: scope === 'node' });
            onOpen();
          } else if (event === 'record') {
            batch.add(parseExact(data) as LogRecord); // the server's own type
          } else if (event === 'skipped') {
            batch.skip((JSON.parse(data) as { records: number }).records); // as the server sends it
          }
        }
      } finally {
        clearTimeout(idleTimer);
        batch.discard();
      }
    };
    const connect = async () => {
      const error = await readEvents().then(() => undefined, toRequestError);
      if (unsubscribed.signal.aborted) return;
      if (error?.status === 401) {
        onUnauthorized(error.message);
        return;
      }
      if (error?.status === 0) onReachable(false);
      const isPermanent = error !== undefined && error.retryAfterSeconds === undefined;
      setTail((previous) => ({ ...previous, state: isPermanent ? 'closed' : 'connecting', error }));
      if (isPermanent) return;
      timer = setTimeout(() => void connect(), delayMs);
      delayMs = Math.min(delayMs * 2, RECONNECT_DELAY_MS.max);
    };
    void connect();
    return () => {
      unsubscribed.abort();
      clearTimeout(timer);
    };
  }, [url, token]);
  return tail;
}

/** Collects records and renders them in batches. */
function createBatch(update: (change: (previous: LiveTail) => LiveTail) => void) {
  let records: LogRecord[] = [];
  let skipped = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    timer = undefined;
    const [newRecords, newlySkipped] = [records.reverse(), skipped];
    records = [];
    skipped = 0;
    update((previous) => ({
      ...previous,
      records: [...newRecords, ...previous.records].slice(0, MAX_ROWS),
      count: previous.count + newRecords.length,
      skipped: previous.skipped + newlySkipped,
    }));
  };
  const scheduleFlush = () => {
    timer ??= setTimeout(flush, RENDER_INTERVAL_MS);
  };
  return {
    add(record: LogRecord) {
      records.push(record);
      scheduleFlush();
    },
    skip(count: number) {
      skipped += count;
      scheduleFlush();
    },
    /** Discards records that are not rendered yet, because the next connection starts empty. */
    discard() {
      clearTimeout(timer);
    },
  };
}

/** Returns a stream that passes bytes through and calls a function for each chunk. */
function onEachChunk(callback: () => void): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  return new TransformStream({
    transform(chunk, controller) {
      callback();
      controller.enqueue(chunk);
    },
  });
}

/** Returns whether the page is in a background tab. */
function useIsPageHidden(): boolean {
  const [isHidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const update = () => setHidden(document.hidden);
    document.addEventListener('visibilitychange', update);
    return () => document.removeEventListener('visibilitychange', update);
  }, []);
  return isHidden;
}
