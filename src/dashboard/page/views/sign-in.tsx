import { useState } from 'preact/hooks';
import { ask, Failed, failedOf } from '../api.ts';
import { isToken, keepToken } from '../session.ts';

interface SignInProps {
  /** Why the session that there was is over. */
  readonly reason: string | undefined;
  /** Why a sign-in link was not accepted. */
  readonly failedLink: string | undefined;
  readonly onSignedIn: () => void;
}

/** Takes a token, and lets the server say whether it is good before it is kept. */
export function SignIn({ reason, failedLink, onSignedIn }: SignInProps) {
  const [token, setToken] = useState('');
  const [failure, setFailure] = useState<Failed>();
  const [isAsking, setAsking] = useState(false);

  const signIn = async (event: SubmitEvent) => {
    event.preventDefault();
    // what people paste often has the name of the scheme before it, or a line break in it
    const pasted = token.replace(/^\s*bearer\s+/i, '').replace(/\s+/g, '');
    if (!isToken(pasted)) {
      setFailure(new Failed(401, 'This is no token', 'A token has three parts, with points between them.'));
      return;
    }
    setAsking(true);
    try {
      await ask('/api/status', {}, pasted, AbortSignal.timeout(20_000));
      keepToken(pasted);
      onSignedIn();
    } catch (error) {
      setFailure(failedOf(error));
      setAsking(false);
    }
  };
  const said = failure ? `${failure.message}. ${failure.hint}` : (failedLink ?? reason);
  return (
    <main class="sign-in">
      <form class="panel" onSubmit={(event) => void signIn(event)}>
        <h1>rawlog</h1>
        {said && (
          <p class="failure" role="alert">
            {reason && !failure && !failedLink && <b>The session is over. </b>}
            {said}
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
        <button type="submit" class="primary" disabled={isAsking}>
          {isAsking ? 'Asking the server…' : 'Sign in'}
        </button>
        <p class="quiet">
          A token of your product shows your own rows, one with the role <code>admin</code> those of all users. It is
          kept in this tab alone, until you close it. On the server, this prints a link that signs you in:
        </p>
        <pre>
          <code>rawlog token --sub me --role admin --link</code>
        </pre>
        <p class="quiet">
          Where it runs from its sources: <code>npm run -s rawlog -- token --sub me --role admin --link</code>
        </p>
      </form>
    </main>
  );
}
