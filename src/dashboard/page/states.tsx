import { Component, type ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { RequestError } from './api.ts';
import { useNavigation } from './navigation.ts';
import type { QueryState } from './use-query.ts';

/** Time after which a pending query is reported as slow, in milliseconds. */
const SLOW_MS = 3_000;

interface QueryResultProps<Value> {
  readonly query: QueryState<Value>;
  readonly children: (value: Value) => ComponentChildren;
}

/** Renders a query's result, loading state or error. An older result stays while a refresh is pending or fails. */
export function QueryResult<Value>({ query, children }: QueryResultProps<Value>) {
  const { value, error, isLoading, retry } = query;
  if (value === undefined) return error ? <ErrorMessage error={error} retry={retry} /> : <Loading />;
  return (
    <div aria-busy={isLoading}>
      <QueryErrorNotice query={query} />
      {children(value)}
    </div>
  );
}

/** The error of a query, shown next to older results. Renders nothing if the server is unreachable; a banner says so. */
export function QueryErrorNotice({ query: { error, retry } }: { query: QueryState<unknown> }) {
  return error && error.status !== 0 ? <ErrorMessage error={error} retry={retry} /> : null;
}

/** Shapes in place of the content, and a text for screen readers. The text becomes visible when the query is slow. */
export function Loading() {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="loading" role="status">
      <span aria-hidden="true" />
      <span aria-hidden="true" />
      <span aria-hidden="true" />
      <p class={isSlow ? '' : 'visually-hidden'}>
        {isSlow ? 'Still loading… The request times out after 30 seconds.' : 'Loading…'}
      </p>
    </div>
  );
}

/** An error with its hint, and a button that retries. */
export function ErrorMessage({ error, retry }: { error: RequestError; retry: () => void }) {
  const { address, go } = useNavigation();
  const isForbidden = error.status === 403;
  return (
    <div class="error" role="alert">
      <p>
        <b>{isForbidden ? 'You do not have access to this data' : error.message}</b>
      </p>
      <p>{isForbidden ? "Only admins and viewers can view other users' data." : error.hint}</p>
      {error.requestId && (
        <p class="quiet">
          Request ID: <code>{error.requestId}</code>
        </p>
      )}
      {isForbidden && address.user !== undefined ? (
        <button type="button" onClick={() => go({ user: undefined })}>
          Show my data
        </button>
      ) : (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Shown when the selected user has no rows. */
export function UserHasNoRows() {
  const { address, go } = useNavigation();
  return (
    <section class="panel">
      <h2>No data for {address.user}</h2>
      <p>
        <button type="button" onClick={() => go({ user: undefined })}>
          Show all users
        </button>
      </p>
    </section>
  );
}

/** Catches errors thrown while rendering a view, and shows them until the URL changes. */
export class ErrorBoundary extends Component<
  { url: string; children: ComponentChildren },
  { error?: Error | undefined }
> {
  static override getDerivedStateFromError(error: Error) {
    return { error };
  }

  override componentDidUpdate(previous: { url: string }) {
    if (this.state.error && previous.url !== this.props.url) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const requestError = new RequestError(200, 'Something went wrong', `Reload the page. Details: ${error.message}`);
    return <ErrorMessage error={requestError} retry={() => location.reload()} />;
  }
}

/** A message in place of an empty result. */
export function EmptyMessage({ children }: { children: ComponentChildren }) {
  return <p class="no-data">{children}</p>;
}
