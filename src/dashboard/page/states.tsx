import { Component, type ComponentChildren } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { type Answer, AskingContext, useRefresh } from './answer.ts';
import { Failed } from './api.ts';
import { usePlace } from './place.ts';

/** How often to look for the first row, in seconds. */
const FIRST_ROW_SOON = 2;

/** After this time a question that is not answered yet says so, in milliseconds. */
const SLOW = 3_000;

interface AnsweredProps<Value> {
  readonly answer: Answer<Value>;
  readonly children: (value: Value) => ComponentChildren;
}

/**
 * Shows what an answer has, or why there is none yet. An older answer stays while the next one is waited for or
 * could not be had.
 */
export function Answered<Value>({ answer, children }: AnsweredProps<Value>) {
  const { value, failure, isLoading, retry } = answer;
  if (value === undefined) return failure ? <Failure failure={failure} retry={retry} /> : <Loading />;
  return (
    <div aria-busy={isLoading}>
      <Trouble of={answer} />
      {children(value)}
    </div>
  );
}

/** Why a question that is asked beside another has no answer, if that is so. */
export function Trouble({ of: { failure, retry } }: { of: Answer<unknown> }) {
  return failure && failure.status !== 0 ? <Failure failure={failure} retry={retry} /> : null;
}

/** That something is on its way; after a while, that it takes long. */
export function Loading() {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="loading" role="status">
      {isSlow ? 'Still reading: there is much to read. It is given up after half a minute.' : 'Reading…'}
    </p>
  );
}

/** Why there is no answer, and what can be done. */
export function Failure({ failure, retry }: { failure: Failed; retry: () => void }) {
  const { address, go } = usePlace();
  const forbidden = failure.status === 403;
  return (
    <div class="failure" role="alert">
      <p>
        <b>{forbidden ? 'This token may not see that' : failure.message}</b>
      </p>
      <p>{forbidden ? "Only an admin's token may read the rows of other users." : failure.hint}</p>
      {failure.requestId && (
        <p class="quiet">
          In the server's log: <code>{failure.requestId}</code>
        </p>
      )}
      {forbidden && address.user !== undefined ? (
        <button type="button" onClick={() => go({ user: undefined })}>
          Show my own rows
        </button>
      ) : (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** A user has recorded nothing. */
export function NoRowsOfUser() {
  const { address, go } = usePlace();
  return (
    <section class="panel">
      <h2>{address.user} has recorded nothing</h2>
      <p>
        <button type="button" onClick={() => go({ user: undefined })}>
          Show all users
        </button>
      </p>
    </section>
  );
}

/** Nothing has been recorded yet: the command that records something. */
export function Empty() {
  const { token, again } = useContext(AskingContext);
  const [copied, setCopied] = useState(false);
  const command = `curl -X POST ${location.origin}/log_raw_metric -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'`;
  useRefresh(FIRST_ROW_SOON, again);
  const copy = () =>
    navigator.clipboard.writeText(command).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  return (
    <section class="panel empty">
      <h2>Nothing is recorded yet</h2>
      <p>Paste this into a terminal: it stores a first metric with your token, and this page shows it at once.</p>
      <pre>
        <code>{command}</code>
      </pre>
      <p>
        <button type="button" class="primary" onClick={() => void copy()}>
          {copied ? 'Copied' : 'Copy'}
        </button>{' '}
        <a href="/swagger">Other ways to record: the API's page</a>
      </p>
    </section>
  );
}

/** Catches what the page itself does wrong: that is said, and the page goes on once the place is another. */
export class Boundary extends Component<{ place: string; children: ComponentChildren }, { error?: Error | undefined }> {
  static override getDerivedStateFromError(error: Error) {
    return { error };
  }

  override componentDidUpdate(before: { place: string }) {
    if (this.state.error && before.place !== this.props.place) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const failure = new Failed(200, 'This page has a fault', `Reload it. What it says of it: ${error.message}`);
    return <Failure failure={failure} retry={() => location.reload()} />;
  }
}

/** That a question has an answer, which is nothing. */
export function Nothing({ children }: { children: ComponentChildren }) {
  return <p class="nothing">{children}</p>;
}
