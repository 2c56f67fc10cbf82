import { EventSourceParserStream } from 'eventsource-parser/stream';
import { useContext, useEffect, useState } from 'preact/hooks';
import { AskingContext } from './answer.ts';
import { Failed, type LogRecord, parseExact, type Query, questionAddress, request } from './api.ts';

/** Rows that are kept, the newest ones: a page of more is slow. */
const MAX_ROWS = 500;
/** Pauses before the tail is opened again, in milliseconds: the first, and the longest. */
const PAUSE = { first: 500, longest: 10_000 };

/** What has come since the tail was opened. */
export interface Tail {
  readonly state: 'closed' | 'connecting' | 'open';
  /** The newest first. */
  readonly records: readonly LogRecord[];
  /** How many came too fast to be sent. */
  readonly skipped: number;
  readonly failure: Failed | undefined;
}

const CLOSED: Tail = { state: 'closed', records: [], skipped: 0, failure: undefined };

/**
 * Follows records as they are committed, and opens the tail again when it breaks off.
 *
 * @param path undefined: nothing is followed
 * @param onOpen called each time that it is open: what was committed before then is to be read elsewhere
 */
export function useTail(path: string | undefined, query: Query, onOpen: () => void): Tail {
  const { token, onUnauthorized, onReached } = useContext(AskingContext);
  const [tail, setTail] = useState<Tail>(CLOSED);
  const address = path === undefined ? undefined : questionAddress(path, query);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the address stands for all that is followed
  useEffect(() => {
    setTail(CLOSED);
    if (address === undefined) return;
    const abort = new AbortController();
    const { signal } = abort;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let pause = PAUSE.first;

    const readEvents = async () => {
      const { body } = await request(address, token, signal);
      if (!body) return;
      onReached(true);
      const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
      for await (const { event, data } of events) {
        if (event === 'open') {
          pause = PAUSE.first;
          setTail((before) => ({ ...before, state: 'open', failure: undefined }));
          onOpen();
        } else if (event === 'record') {
          const record = parseExact(data) as LogRecord;
          setTail((before) => ({ ...before, records: [record, ...before.records].slice(0, MAX_ROWS) }));
        } else if (event === 'skipped') {
          const { records } = JSON.parse(data) as { records: number };
          setTail((before) => ({ ...before, skipped: before.skipped + records }));
        }
      }
    };
    const follow = async () => {
      setTail((before) => ({ ...before, state: 'connecting' }));
      const failure = await readEvents().then(
        () => undefined,
        (error: unknown) => (error instanceof Failed ? error : undefined),
      );
      if (signal.aborted) return;
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
      abort.abort();
      clearTimeout(timer);
    };
  }, [address, token]);
  return tail;
}
