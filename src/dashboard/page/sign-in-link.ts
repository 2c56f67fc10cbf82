import { useCallback, useEffect, useState } from 'preact/hooks';
import { exchangeCode, RequestError, toRequestError } from './api.ts';
import { currentSession, storeToken, takeCodeFromAddress, userIdOf } from './session.ts';

/** The state of the latest sign-in link. */
export interface SignInLink {
  /** The user of a link that was opened while another user is signed in. Switching requires confirmation. */
  readonly offered: string | undefined;
  /** Confirms or cancels the switch. */
  readonly decide: (isAccepted: boolean) => void;
  /** Whether a code is being exchanged. */
  readonly isSigningIn: boolean;
  /** Why signing in with the link failed. */
  readonly error: string | undefined;
  /** Clears the link, because the user has changed or the error was dismissed. */
  readonly clear: () => void;
}

const NEW_LINK = 'Create a new one with "rawlog token --sub <id> --link".';
const INVALID_LINK = `This sign-in link is not valid. ${NEW_LINK}`;

/**
 * Handles sign-in links: the one that opened the page, and any opened later in the same tab. A link for another user
 * requires confirmation, because an attacker could send one to make this browser use the attacker's session.
 *
 * @param first the result of {@link takeCodeFromAddress}
 */
export function useSignInLink(first: string | undefined, onSignedIn: () => void): SignInLink {
  const [offered, setOffered] = useState<string>();
  const [isSigningIn, setSigningIn] = useState(first !== undefined && first !== '' && currentSession() === undefined);
  const [error, setError] = useState<string>();

  const redeem = useCallback(
    async (code: string) => {
      setSigningIn(true);
      try {
        const token = await exchangeCode(code);
        // the user confirmed the user ID in the code
        if (userIdOf(token) !== userIdOf(code)) {
          throw new RequestError(200, 'The server returned a token for a different user', 'Create a new link.');
        }
        storeToken(token);
        onSignedIn();
      } catch (thrown) {
        const { status, message, hint } = toRequestError(thrown);
        setError(`${message}. ${status === 401 ? NEW_LINK : hint}`);
      }
      setSigningIn(false);
    },
    [onSignedIn],
  );
  const clear = useCallback(() => {
    setError(undefined);
    setOffered(undefined);
  }, []);
  const take = useCallback(
    (code: string) => {
      setError(code === '' ? INVALID_LINK : undefined);
      setOffered(undefined);
      if (code === '') return;
      const session = currentSession();
      if (session && userIdOf(code) !== session.userId) setOffered(code);
      else void redeem(code);
    },
    [redeem],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: runs once, for the link that opened the page
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
    error,
    clear,
  };
}
