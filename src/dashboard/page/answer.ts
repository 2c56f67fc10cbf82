import { createContext } from 'preact';
import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import {
  type Answers,
  ask,
  type Failed,
  failedOf,
  type Path,
  pendingQuestions,
  type Query,
  questionAddress,
} from './api.ts';

/** The longest pause between two attempts, in seconds. */
const LONGEST_PAUSE = 30;

/** What all questions of the page share. */
export interface Asking {
  readonly token: string;
  /** The moment that relative ranges end at. When it changes, everything is asked anew. */
  readonly now: Date;
  /** Asks everything anew. */
  readonly again: () => void;
  /** Told of a token that is not, or no longer, accepted. */
  readonly onUnauthorized: (message: string) => void;
  /** Told whether the server can be reached. */
  readonly onReached: (reached: boolean) => void;
}

const unused = () => {};
export const AskingContext = createContext<Asking>({
  token: '',
  now: new Date(0),
  again: unused,
  onUnauthorized: unused,
  onReached: unused,
});

/** Asks everything anew from time to time, but not while answers are waited for, nor while nobody looks. */
export function useRefresh(seconds: number, again: () => void): void {
  useEffect(() => {
    if (seconds === 0) return;
    const refresh = () => {
      if (pendingQuestions() === 0 && !document.hidden) again();
    };
    const timer = setInterval(refresh, seconds * 1000);
    document.addEventListener('visibilitychange', refresh);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', refresh);
    };
  }, [seconds, again]);
}

/** How far a question is. */
export interface Answer<Value> {
  /** The last answer to it, or to the same question of a moment ago. */
  readonly value: Value | undefined;
  /** Why the last attempt failed. */
  readonly failure: Failed | undefined;
  readonly isLoading: boolean;
  /** Asks again at once. */
  readonly retry: () => void;
}

/**
 * Asks a reading route, and again whenever the question or the moment changes. What fails for a while is tried
 * again by itself, after longer and longer pauses. An answer stays until the next is there, unless another
 * subject is asked for.
 *
 * @param parameters undefined: there is nothing to ask yet
 * @param subject what the answer is about: an answer about something else is not shown meanwhile
 * @param isHeld whether a new moment is no reason to ask again
 */
export function useAnswer<Asked extends Path>(
  path: Asked,
  parameters: Query | undefined,
  subject = '',
  isHeld = false,
): Answer<Answers[Asked]> {
  const { token, now, onUnauthorized, onReached } = useContext(AskingContext);
  const [attempt, setAttempt] = useState(0);
  const [known, setKnown] = useState<{ subject: string; value: Answers[Asked] }>();
  const [failed, setFailed] = useState<{ subject: string; failure: Failed }>();
  const [isLoading, setLoading] = useState(true);
  const address = parameters && questionAddress(path, parameters);
  const held = useRef(now);
  if (!isHeld) held.current = now;
  const moment = held.current;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the address stands for path and parameters, and a new moment or attempt is a reason to ask again
  useEffect(() => {
    if (parameters === undefined) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const attemptOnce = async (pause: number) => {
      try {
        const value = await ask(path, parameters, token, abort.signal);
        if (abort.signal.aborted) return; // it came just as another was asked for
        onReached(true);
        setKnown({ subject, value });
        setFailed(undefined);
        setLoading(false);
      } catch (error) {
        if (abort.signal.aborted) return;
        const failure = failedOf(error);
        onReached(failure.status !== 0);
        setLoading(false);
        if (failure.status === 401) {
          onUnauthorized(failure.message);
          return;
        }
        setFailed({ subject, failure });
        if (failure.retryAfter === undefined) return;
        timer = setTimeout(
          () => void attemptOnce(Math.min(pause * 2, LONGEST_PAUSE)),
          Math.max(pause, failure.retryAfter) * 1000,
        );
      }
    };
    setLoading(true);
    void attemptOnce(1);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [address, token, attempt, moment]);

  return {
    value: known?.subject === subject ? known.value : undefined,
    failure: failed?.subject === subject ? failed.failure : undefined,
    isLoading: isLoading || parameters === undefined,
    retry: () => setAttempt((count) => count + 1),
  };
}
