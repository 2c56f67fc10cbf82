import { useState } from 'preact/hooks';
import { fetchJson, RequestError, toRequestError } from '../api.ts';
import { Mark } from '../header.tsx';
import { isToken, storeToken } from '../session.ts';

interface SignInProps {
  /** Why the previous session ended. */
  readonly reason: string | undefined;
  /** Why a sign-in link was rejected. */
  readonly linkError: string | undefined;
  readonly onSignedIn: () => void;
}

/** The sign-in form. Verifies a token with the server before storing it. */
export function SignIn({ reason, linkError, onSignedIn }: SignInProps) {
  const [token, setToken] = useState('');
  const [error, setError] = useState<RequestError>();
  const [isSigningIn, setSigningIn] = useState(false);

  const signIn = async (event: SubmitEvent) => {
    event.preventDefault();
    // pasted tokens often include the "Bearer" prefix or line breaks
    const pasted = token.replace(/^\s*bearer\s+/i, '').replace(/\s+/g, '');
    if (!isToken(pasted)) {
      setError(new RequestError(401, 'This is not a token', 'A token has three parts separated by dots.'));
      return;
    }
    setSigningIn(true);
    try {
      await fetchJson('/api/status', {}, pasted, AbortSignal.timeout(20_000));
      storeToken(pasted);
      onSignedIn();
    } catch (thrown) {
      setError(toRequestError(thrown));
      setSigningIn(false);
    }
  };
  const message = error ? `${error.message}. ${error.hint}` : (linkError ?? reason);
  return (
    <main class="sign-in">
      <form class="panel" onSubmit={(event) => void signIn(event)}>
        <h1>
          <Mark />
          rawlog
        </h1>
        {message && (
          <p class="error" role="alert">
            {reason && !error && !linkError && <b>Your session has ended. </b>}
            {message}
          </p>
        )}
        <label>
          Token
          <input
            type="password"
            name="token"
            value={token}
            autocomplete="off"
            spellcheck={false}
            required
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary" disabled={isSigningIn}>
          {isSigningIn ? 'Signing in…' : 'Sign in'}
        </button>
        <p class="quiet">
          Sign in with a token from your product to see your own data. Admins and viewers see the data of all users. The
          token stays in this tab until you close it. To create a sign-in link instead, run this on the server:
        </p>
        <pre>
          <code>rawlog token --sub me --role admin --link</code>
        </pre>
        <p class="quiet">
          When running from source: <code>npm run -s rawlog -- token --sub me --role admin --link</code>
        </p>
      </form>
    </main>
  );
}
