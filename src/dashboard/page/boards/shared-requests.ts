import { useEffect, useState } from 'preact/hooks';
import type { DrawnChart, SharedBoard } from '../api.ts';
import { type RequestError, send, toRequestError } from '../api.ts';
import type { QueryState } from '../use-query.ts';

export type { SharedBoard };

/** Time between the starts of two requests, in milliseconds: a link allows 10 per second. */
const PACE_MS = 125;
/** Timeout of a request, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** When the next request may start, on the monotonic clock. */
let nextStartAt = 0;

/** Resolves when a request may start. */
async function turn(): Promise<void> {
  const now = performance.now();
  const startAt = Math.max(now, nextStartAt);
  nextStartAt = startAt + PACE_MS;
  if (startAt > now) await new Promise((resolve) => setTimeout(resolve, startAt - now));
}

/** Response types of the routes of shared boards. */
interface SharedResponses {
  readonly board: SharedBoard;
  readonly chart: DrawnChart;
}

/**
 * Queries a route of shared boards, and queries it again when `version` changes or after a transient error.
 *
 * @param name the name of its response
 * @param index the position of the chart; 0 for the board
 * @param link the value of the shared link
 */
export function useShared<Name extends keyof SharedResponses>(
  name: Name,
  index: number,
  link: string,
  version: number,
): QueryState<SharedResponses[Name]> {
  const path = name === 'board' ? '/api/shared' : `/api/shared/charts/${index}`;
  const [attempt, setAttempt] = useState(0);
  const [value, setValue] = useState<SharedResponses[Name]>();
  const [error, setError] = useState<RequestError>();
  const [isLoading, setLoading] = useState(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new version or attempt repeats the query
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async () => {
      await turn();
      if (abort.signal.aborted) return;
      try {
        const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(TIMEOUT_MS)]);
        const response = await send(path, { headers: { 'x-board-link': link }, signal, referrerPolicy: 'no-referrer' });
        const result = (await response.json()) as SharedResponses[Name]; // the server's own types
        if (abort.signal.aborted) return;
        setValue(result);
        setError(undefined);
      } catch (thrown) {
        if (abort.signal.aborted) return;
        const requestError = toRequestError(thrown);
        setError(requestError);
        const seconds = requestError.retryAfterSeconds;
        if (seconds !== undefined) timer = setTimeout(() => void load(), seconds * 1000);
      }
      setLoading(false);
    };
    setLoading(true);
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, link, version, attempt]);
  return { value, error, isLoading, retry: () => setAttempt((count) => count + 1) };
}
