import { createContext } from 'preact';
import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import {
  fetchJson,
  type Path,
  pendingQueries,
  type QueryParameters,
  queryUrl,
  type RequestError,
  type Responses,
  toRequestError,
} from './api.ts';

const MAX_RETRY_DELAY_SECONDS = 30;

/** State shared by all queries of the page. */
export interface QuerySession {
  readonly token: string;
  /** End of relative ranges. When it changes, all queries are sent again. */
  readonly now: Date;
  /** Sends all queries again. */
  readonly refresh: () => void;
  /** Called when the server rejects the token. */
  readonly onUnauthorized: (message: string) => void;
  /** Called after each attempt with whether it reached the server. */
  readonly onReachable: (isReachable: boolean) => void;
}

const noop = () => {};
export const QuerySessionContext = createContext<QuerySession>({
  token: '',
  now: new Date(0),
  refresh: noop,
  onUnauthorized: noop,
  onReachable: noop,
});

/** Refreshes the page periodically, except while queries are pending or the page is hidden. */
export function useRefresh(seconds: number, refresh: () => void): void {
  useEffect(() => {
    if (seconds === 0) return;
    const refreshIfIdle = () => {
      if (pendingQueries() === 0 && !document.hidden) refresh();
    };
    const timer = setInterval(refreshIfIdle, seconds * 1000);
    document.addEventListener('visibilitychange', refreshIfIdle);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', refreshIfIdle);
    };
  }, [seconds, refresh]);
}

/** The state of a query. */
export interface QueryState<Value> {
  /** The latest result for this subject; it may be older than `error`. */
  readonly value: Value | undefined;
  /** The error of the last attempt. */
  readonly error: RequestError | undefined;
  readonly isLoading: boolean;
  /** Sends the query again immediately. */
  readonly retry: () => void;
}

/**
 * Queries a route, and queries it again when the parameters or `now` change. Transient errors are retried with
 * exponential backoff. The previous result stays until the next one arrives, unless the subject changes.
 *
 * @param parameters undefined: nothing to query yet
 * @param subject identifies what the result is about; a result about another subject is never shown
 * @param isPaused whether to ignore changes of `now`
 */
export function useQuery<Route extends Path>(
  path: Route,
  parameters: QueryParameters | undefined,
  subject = '',
  isPaused = false,
): QueryState<Responses[Route]> {
  const { token, now, onUnauthorized, onReachable } = useContext(QuerySessionContext);
  const [attempt, setAttempt] = useState(0);
  const [latest, setLatest] = useState<{ subject: string; value: Responses[Route] }>();
  const [failed, setFailed] = useState<{ subject: string; error: RequestError }>();
  const [isLoading, setLoading] = useState(true);
  const url = parameters && queryUrl(path, parameters);
  const lastNow = useRef(now);
  if (!isPaused) lastNow.current = now;
  const effectiveNow = lastNow.current;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the URL covers path and parameters; a new time or attempt repeats the query
  useEffect(() => {
    if (parameters === undefined) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const attemptOnce = async (delaySeconds: number) => {
      try {
        const value = await fetchJson(path, parameters, token, abort.signal);
        if (abort.signal.aborted) return; // the response arrived just as the query changed
        onReachable(true);
        setLatest({ subject, value });
        setFailed(undefined);
        setLoading(false);
      } catch (thrown) {
        if (abort.signal.aborted) return;
        const error = toRequestError(thrown);
        onReachable(error.status !== 0);
        setLoading(false);
        if (error.status === 401) {
          onUnauthorized(error.message);
          return;
        }
        setFailed({ subject, error });
        if (error.retryAfterSeconds === undefined) return;
        timer = setTimeout(
          () => void attemptOnce(Math.min(delaySeconds * 2, MAX_RETRY_DELAY_SECONDS)),
          Math.max(delaySeconds, error.retryAfterSeconds) * 1000,
        );
      }
    };
    setLoading(true);
    void attemptOnce(1);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [url, token, attempt, effectiveNow]);

  return {
    value: latest?.subject === subject ? latest.value : undefined,
    error: failed?.subject === subject ? failed.error : undefined,
    isLoading: isLoading || parameters === undefined,
    retry: () => setAttempt((count) => count + 1),
  };
}
