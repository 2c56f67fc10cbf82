import { useContext, useState } from 'preact/hooks';
import {
  type Annotation,
  type Annotations,
  type Board,
  type BoardBody,
  type BoardChart,
  type Boards,
  type CreatedLink,
  type DrawnChart,
  type Path,
  type QueryParameters,
  RequestError,
  type SharedLinks,
  send,
  toRequestError,
  type Unit,
  type Units,
} from '../api.ts';
import { QuerySessionContext, type QueryState, useQuery } from '../use-query.ts';

export type { Annotation, Annotations, Board, BoardBody, BoardChart, Boards, CreatedLink, DrawnChart, SharedLinks };
export type BoardSummary = Boards['boards'][number];

/** Response types of the routes of boards, by name. */
interface BoardResponses {
  readonly boards: Boards;
  readonly board: Board;
  readonly chart: DrawnChart;
  readonly links: SharedLinks;
  readonly annotations: Annotations;
  readonly units: Units;
}

/**
 * Queries a route of boards, as {@link useQuery} does.
 *
 * @param name the name of its response
 * @param path undefined: nothing to query
 * @param subject as in {@link useQuery}; default: the path and the parameters
 */
export function useBoardQuery<Name extends keyof BoardResponses>(
  name: Name,
  path: string | undefined,
  parameters: QueryParameters = {},
  isPaused = false,
  subject = `${name} ${path} ${JSON.stringify(parameters)}`,
): QueryState<BoardResponses[Name]> {
  // the types of the other routes go by their path, which has an ID here; the name decides the type instead
  const query: QueryState<unknown> = useQuery(
    (path ?? '') as Path,
    path === undefined ? undefined : parameters,
    subject,
    isPaused,
  );
  return query as QueryState<BoardResponses[Name]>;
}

/** Timeout of a change, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** The responses of changes, by method and route. */
interface Changes {
  'POST /api/boards': Board;
  'PUT board': Board;
  'POST link': CreatedLink;
  'POST /api/annotations': Annotation;
  'PUT /api/units': Unit;
  DELETE: { readonly id: string };
}

/**
 * Sends a change to the server.
 *
 * @param change the key of its response type
 * @throws {RequestError} when the server is unreachable or rejects it
 */
export async function sendChange<Change extends keyof Changes>(
  change: Change,
  path: string,
  token: string,
  body?: unknown,
): Promise<Changes[Change]> {
  try {
    const response = await send(path, {
      method: change.split(' ')[0] ?? 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return (await response.json()) as Changes[Change]; // the server's own types
  } catch (error) {
    throw toRequestError(error);
  }
}

/** Reads a board. Throws a {@link RequestError}. */
export async function readBoard(id: string, token: string): Promise<Board> {
  const response = await send(`/api/boards/${id}`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return (await response.json()) as Board;
}

/** What a board consists of, without what the server assigns. */
export function bodyOf({ name, scope, charts }: Board): BoardBody {
  return { name, scope, charts };
}

/** Runs one change at a time, with its error. */
export function useChange(): {
  readonly isBusy: boolean;
  readonly error: RequestError | undefined;
  /** Runs a change with the token, then queries everything again. Resolves with whether it succeeded. */
  readonly run: (change: (token: string) => Promise<unknown>) => Promise<boolean>;
} {
  const { token, refresh, onUnauthorized } = useContext(QuerySessionContext);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<RequestError>();
  return {
    isBusy,
    error,
    async run(change) {
      setBusy(true);
      setError(undefined);
      try {
        await change(token);
        refresh();
        return true;
      } catch (thrown) {
        const requestError = thrown instanceof RequestError ? thrown : toRequestError(thrown);
        if (requestError.status === 401) onUnauthorized(requestError.message);
        setError(requestError);
        return false;
      } finally {
        setBusy(false);
      }
    },
  };
}
