import { useCallback, useEffect, useState } from 'preact/hooks';
import { exchangeCode, failedOf } from './api.ts';
import { currentSession, keepToken, takeCodeFromAddress, userIdOf } from './session.ts';

/** What became of a sign-in link. */
export interface SignInLink {
  /** The user of a link that was opened in the session of another one: whether to switch is asked. */
  readonly offered: string | undefined;
  /** Answers that. */
  readonly decide: (isAccepted: boolean) => void;
  /** Whether a code is being exchanged. */
  readonly isSigningIn: boolean;
  /** Why the last link did not sign in. */
  readonly failure: string | undefined;
  /** Forgets the last link: who is signed in has changed, or the failure was read. */
  readonly forget: () => void;
}

const UNUSABLE = 'This sign-in link is not valid. Make another one with "rawlog token --link".';

/**
 * Signs in by links: the one that the page was opened with, and those that are opened where it already is. A link of
 * another user than the one who is signed in only asks: it may come from somebody who wants their own session here.
 *
 * @param first what {@link takeCodeFromAddress} returned
 */
export function useSignInLink(first: string | undefined, onSignedIn: () => void): SignInLink {
  const [offered, setOffered] = useState<string>();
  const [isSigningIn, setSigningIn] = useState(first !== undefined && first !== '' && currentSession() === undefined);
  const [failure, setFailure] = useState<string>();

  const redeem = useCallback(
    async (code: string) => {
      setSigningIn(true);
      try {
        const token = await exchangeCode(code);
        // what was shown, and perhaps accepted, is the user of the code
        if (userIdOf(token) !== userIdOf(code)) throw new Error('the token is of another user');
        keepToken(token);
        onSignedIn();
      } catch (error) {
        const { status, message, hint } = failedOf(error);
        setFailure(status === 401 ? `${message}. Make another one with "rawlog token --link".` : `${message}. ${hint}`);
      }
      setSigningIn(false);
    },
    [onSignedIn],
  );
  const forget = useCallback(() => {
    setFailure(undefined);
    setOffered(undefined);
  }, []);
  const take = useCallback(
    (code: string) => {
      setFailure(code === '' ? UNUSABLE : undefined);
      setOffered(undefined);
      if (code === '') return;
      const session = currentSession();
      if (session && userIdOf(code) !== session.userId) setOffered(code);
      else void redeem(code);
    },
    [redeem],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: the page is opened once
  useEffect(() => {
    if (first !== undefined) take(first);
  }, []);
  useEffect(() => {
    const onFragment = () => {
      const code = takeCodeFromAddress();
      if (code !== undefined) take(code);
    };
    addEventListener('hashchange', onFragment);
    return () => removeEventListener('hashchange', onFragment);
  }, [take]);

  return {
    offered: offered === undefined ? undefined : userIdOf(offered),
    decide(isAccepted) {
      setOffered(undefined);
      if (isAccepted && offered !== undefined) void redeem(offered);
    },
    isSigningIn,
    failure,
    forget,
  };
}
