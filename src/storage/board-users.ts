import type { Database } from 'bun:sqlite';

/*
 * The users of boards, shared links and annotations.
 */

/** What determines the users of a chart, as the API stores it. */
export interface StoredChart {
  readonly view: string;
  readonly query: { readonly parameters: Readonly<Record<string, string | readonly string[]>> };
}

/**
 * Returns the user IDs that charts filter by: in the query, and in the URL of the page.
 *
 * @param charts as the API stores them
 */
export function usersFilteredBy(charts: readonly StoredChart[]): string[] {
  return [...new Set(charts.flatMap(usersOf))];
}

/** Returns the user IDs that a chart filters by. */
export function usersOf({ view, query }: StoredChart): string[] {
  return [...[query.parameters['user_id'] ?? []].flat(), ...new URLSearchParams(view).getAll('user')];
}

/**
 * Returns the newest time in boards, links and annotations, in milliseconds since 1970; 0 if there are none. Skips blank rows,
 * because an erasure calls it while it holds the write lock.
 */
export function newestChangeOf(client: Database): number {
  const found = client
    .query<{ newest: number | null }, []>(
      `SELECT max(at) AS newest FROM (
         SELECT max(updated_at) AS at FROM boards INDEXED BY boards_board_id WHERE board_id IS NOT NULL
         UNION ALL SELECT max(created_at) FROM board_links INDEXED BY board_links_hash WHERE hash IS NOT NULL
         UNION ALL SELECT max(created_at) FROM annotations)`,
    )
    .get();
  return found?.newest ?? 0;
}

/** Returns every user who owns, has created or is named in a board, a shared link or an annotation. */
export function usersOfBoards(client: Database): string[] {
  const owners = client
    .query<{ userId: string }, []>(
      `SELECT owner AS userId FROM boards WHERE owner IS NOT NULL
       UNION SELECT creator FROM board_links WHERE creator IS NOT NULL
       UNION SELECT author FROM annotations WHERE author IS NOT NULL`,
    )
    .all();
  const filtered = client
    .query<{ users: string }, []>('SELECT filtered_users AS users FROM boards WHERE filtered_users IS NOT NULL')
    .all();
  return [...owners.map(({ userId }) => userId), ...filtered.flatMap(({ users }) => JSON.parse(users) as string[])];
}
