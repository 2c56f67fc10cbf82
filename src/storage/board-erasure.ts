import { BLANK_ROW_BYTES, type RemovalContext } from './blanking.ts';
import { BLANK_LINKS } from './board-link-store.ts';
import { BLANK_BOARD } from './board-store.ts';
import { type StoredChart, usersFilteredBy, usersOf } from './board-users.ts';
import { inTransactions, type Job } from './job.ts';

/*
 * Erasure of what a user has created: boards, shared links, and authorship of annotations. Charts of other users' boards
 * that filter by the user are removed too: without the filter, they would show the rows of everyone.
 */

/**
 * Erases what a user created up to a time, and the charts that filter by the user. A board for everyone stays, without
 * its owner, as annotations stay without their author.
 *
 * @param until milliseconds since 1970
 */
export function* eraseBoards({ client, store }: RemovalContext, userId: string, until: number): Job<void> {
  const { transact } = store;
  const owned = client
    .query<{ id: number; scope: string }, [string, number]>(
      'SELECT id, scope FROM boards WHERE owner = ? AND updated_at <= ?',
    )
    .all(userId, until);
  const blankBoard = client.query(BLANK_BOARD);
  const blankLinksOf = client.query(`${BLANK_LINKS} AND board_id = (SELECT board_id FROM boards WHERE id = ?)`);
  // a new row, because an update could move other rows within the file
  const disown = client.query(
    `INSERT INTO boards (board_id, owner, scope, created_at, updated_at, filtered_users, chart_count, name, charts)
     SELECT board_id, NULL, scope, created_at, updated_at, filtered_users, chart_count, name, charts FROM boards
     WHERE id = ? AND board_id IS NOT NULL`,
  );
  yield* inTransactions(transact, owned, ({ id, scope }) => {
    if (scope === 'everyone') disown.run(id);
    else blankLinksOf.run(id);
    blankBoard.run(id);
    return BLANK_ROW_BYTES;
  });
  yield;
  const filtered = client
    .query<{ id: number; users: string }, [number]>(
      'SELECT id, filtered_users AS users FROM boards WHERE filtered_users IS NOT NULL AND updated_at <= ?',
    )
    .all(until)
    .filter(({ users }) => (JSON.parse(users) as string[]).includes(userId));
  const chartsOf = client.query<{ charts: string }, [number]>('SELECT charts FROM boards WHERE id = ?');
  const copy = client.query(
    `INSERT INTO boards (board_id, owner, scope, created_at, updated_at, filtered_users, chart_count, name, charts)
     SELECT board_id, owner, scope, created_at, updated_at, ?, ?, name, ? FROM boards WHERE id = ?`,
  );
  yield* inTransactions(transact, filtered, ({ id }) => {
    const stored = chartsOf.get(id)?.charts;
    if (!stored) return 0; // replaced meanwhile
    const charts = JSON.parse(stored) as StoredChart[];
    const kept = charts.filter((chart) => !usersOf(chart).includes(userId));
    const users = usersFilteredBy(kept);
    copy.run(users.length > 0 ? JSON.stringify(users) : null, kept.length, JSON.stringify(kept), id);
    blankBoard.run(id);
    return BLANK_ROW_BYTES;
  });
  yield;
  transact(() => {
    client.query(`${BLANK_LINKS} AND creator = ? AND created_at <= ?`).run(userId, until);
    client.query('UPDATE annotations SET author = NULL WHERE author = ? AND created_at <= ?').run(userId, until);
  });
  yield;
}
