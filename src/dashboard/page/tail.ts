import { EventSourceParserStream } from 'eventsource-parser/stream';
import { useContext, useEffect, useState } from 'preact/hooks';
import { AskingContext } from './answer.ts';
import { type Failed, failedOf, type LogRecord, parseExact, type Query, questionAddress, request } from './api.ts';

/** Rows that are kept, the newest ones: a page of more is slow. */
const MAX_ROWS = 500;
/** How often what has come is shown, in milliseconds: drawing a page of rows for each one of them stops it. */
const SHOW_INTERVAL = 250;
/** Pauses before the tail is opened again, in milliseconds: the first, and the longest. */
const PAUSE = { first: 500, longest: 10_000 };
/** The server sends something each 10 s. After so long without a byte the connection is dead, in milliseconds. */
const SILENCE = 25_000;

/** What has come since the tail was opened. */
export interface Tail {
  readonly state: 'closed' | 'connecting' | 'open';
  /** The newest first. */
  readonly records: readonly LogRecord[];
  /** How many have come, also those that are not kept any more. */
  readonly count: number;
  /** How many came too fast to be sent. */
  readonly skipped: number;
  readonly failure: Failed | undefined;
}

const NONE: Tail = { state: 'connecting', records: [], count: 0, skipped: 0, failure: undefined };

/**
 * Follows records as they are committed, and opens the tail again when it breaks off. While nobody looks it is
 * closed: a browser has few connections to a server.
 *
 * @param path undefined: nothing is followed
 * @param onOpen called each time that it is open, with nothing in it: what was committed before then is to be read
 *   elsewhere
 */
export function useTail(path: string | undefined, query: Query, onOpen: () => void): Tail {
  const { token, onUnauthorized, onReached } = useContext(AskingContext);
  const [tail, setTail] = useState<Tail>(NONE);
  const isHidden = useHidden();
  const address = path === undefined || isHidden ? undefined : questionAddress(path, query);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the address stands for all that is followed
  useEffect(() => {
    setTail(address === undefined ? { ...NONE, state: 'closed' } : NONE);
    if (address === undefined) return;
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let pause = PAUSE.first;

    const readEvents = async () => {
      const silent = new AbortController();
      const arrivals = createArrivals((change) => setTail(change));
      let silence: ReturnType<typeof setTimeout> | undefined;
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(() => silent.abort(), SILENCE);
      };
      try {
        heard();
        const { body } = await request(address, token, AbortSignal.any([ended.signal, silent.signal]));
        onReached(true);
        const text = body?.pipeThrough(listened(heard)).pipeThrough(new TextDecoderStream());
        for await (const { event, data } of text?.pipeThrough(new EventSourceParserStream()) ?? []) {
          if (event === 'open') {
            pause = PAUSE.first;
            setTail({ ...NONE, state: 'open' });
            onOpen();
          } else if (event === 'record') {
            arrivals.add(parseExact(data) as LogRecord); // the server's own form
          } else if (event === 'skipped') {
            arrivals.skip((JSON.parse(data) as { records: number }).records); // likewise
          }
        }
      } finally {
        clearTimeout(silence);
        arrivals.end();
      }
    };
    const follow = async () => {
      const failure = await readEvents().then(() => undefined, failedOf);
      if (ended.signal.aborted) return;
      if (failure?.status === 401) {
        onUnauthorized(failure.message);
        return;
      }
      if (failure?.status === 0) onReached(false);
      const isInVain = failure !== undefined && failure.retryAfter === undefined;
      setTail((before) => ({ ...before, state: isInVain ? 'closed' : 'connecting', failure }));
      if (isInVain) return;
      timer = setTimeout(() => void follow(), pause);
      pause = Math.min(pause * 2, PAUSE.longest);
    };
    void follow();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [address, token]);
  return tail;
}

/** Gathers what arrives, and shows it together. */
function createArrivals(show: (change: (before: Tail) => Tail) => void) {
  let records: LogRecord[] = [];
  let skipped = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const showAll = () => {
    timer = undefined;
    const [arrived, left] = [records.reverse(), skipped];
    records = [];
    skipped = 0;
    show((before) => ({
      ...before,
      records: [...arrived, ...before.records].slice(0, MAX_ROWS),
      count: before.count + arrived.length,
      skipped: before.skipped + left,
    }));
  };
  const soon = () => {
    timer ??= setTimeout(showAll, SHOW_INTERVAL);
  };
  return {
    add(record: LogRecord) {
      records.push(record);
      soon();
    },
    skip(count: number) {
      skipped += count;
      soon();
    },
    /** Forgets what has not been shown: the next tail begins anew. */
    end() {
      clearTimeout(timer);
    },
  };
}

/** Hands bytes on, and tells of each piece. */
function listened(heard: () => void): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  return new TransformStream({
    transform(piece, controller) {
      heard();
      controller.enqueue(piece);
    },
  });
}

/** Whether nobody looks at the page. */
function useHidden(): boolean {
  const [isHidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const look = () => setHidden(document.hidden);
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  return isHidden;
}
