import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** Who sees a board: the account that created it, or every user. */
export const BOARD_SCOPES = ['account', 'everyone'] as const;
export type BoardScope = (typeof BOARD_SCOPES)[number];

/** Maximum number of boards of one account, of boards for everyone, and in total. */
export const MAX_BOARDS = { account: 50, everyone: 200, total: 10_000 };

/** A stored board. */
export interface StoredBoard {
  readonly boardId: string;
  /** Null once the owner of a board for everyone was erased. */
  readonly owner: string | null;
  readonly scope: BoardScope;
  readonly name: string;
  /** The charts as a JSON array. */
  readonly charts: string;
  readonly chartCount: number;
  /** The user IDs that charts filter by. */
  readonly filteredUsers: readonly string[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

type Row = Omit<StoredBoard, 'filteredUsers'> & { readonly id: number; readonly filteredUsers: string | null };

/** A board in a list. */
export type ListedBoard = Omit<StoredBoard, 'charts' | 'filteredUsers'>;

const LISTED_COLUMNS = `board_id AS boardId, owner, scope, created_at AS createdAt, updated_at AS updatedAt,
  chart_count AS chartCount, name`;
/** A partial index without the blank rows, of which every change leaves one. */
const LIVE_BOARDS = 'boards INDEXED BY boards_board_id WHERE board_id IS NOT NULL';

/** SQL that blanks a row of `boards` by its `id`. */
export const BLANK_BOARD = `UPDATE boards SET board_id = NULL, owner = NULL, created_at = 0, updated_at = 0,
  filtered_users = NULL, chart_count = 0, name = '', charts = '' WHERE id = ?`;

/** The boards of a database. Functions that change it run in the caller's transaction and return the changed rows. */
export interface BoardStore {
  /** Returns the boards that a user owns, and those for everyone, oldest first. */
  visibleTo(userId: string): ListedBoard[];
  find(boardId: string): StoredBoard | undefined;
  /** Returns which limit a new board would exceed; undefined if none. */
  fullFor(owner: string, scope: BoardScope): keyof typeof MAX_BOARDS | undefined;
  insert(board: StoredBoard): number;
  /** Replaces a board: a new row is added and the former one blanked. */
  replace(board: StoredBoard): number;
  /** Deletes a board; its links are deleted by {@link BoardLinkStore.deleteOf}. */
  delete(boardId: string): number;
}

/** Opens the boards of a database. */
export function openBoardStore(client: Database): BoardStore {
  const visible = client.prepare<ListedBoard, [string]>(
    `SELECT ${LISTED_COLUMNS} FROM ${LIVE_BOARDS} AND (owner = ? OR scope = 'everyone') ORDER BY created_at, id`,
  );
  const findRow = client.prepare<Row, [string]>(
    `SELECT id, ${LISTED_COLUMNS}, filtered_users AS filteredUsers, charts FROM boards WHERE board_id = ?`,
  );
  const count = client.prepare<{ total: number; everyone: number; account: number }, [string]>(
    `SELECT count(*) AS total, coalesce(sum(scope = 'everyone'), 0) AS everyone,
       coalesce(sum(scope = 'account' AND owner = ?), 0) AS account
     FROM ${LIVE_BOARDS}`,
  );
  const insertRow = client.prepare(
    `INSERT INTO boards (board_id, owner, scope, created_at, updated_at, filtered_users, chart_count, name, charts)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const blank = client.prepare(BLANK_BOARD);

  function insert(board: StoredBoard): number {
    const { boardId, owner, scope, createdAt, updatedAt, filteredUsers, chartCount, name, charts } = board;
    const users = filteredUsers.length > 0 ? JSON.stringify(filteredUsers) : null;
    const { changes } = insertRow.run(boardId, owner, scope, createdAt, updatedAt, users, chartCount, name, charts);
    assertChanges(changes, 1);
    return changes;
  }

  function remove(boardId: string): number {
    const row = findRow.get(boardId);
    return row ? blank.run(row.id).changes : 0;
  }

  return {
    visibleTo: (userId) => visible.all(userId),
    find(boardId) {
      const row = findRow.get(boardId);
      return row ? toBoard(row) : undefined;
    },
    fullFor(owner, scope) {
      const counts = count.get(owner);
      if (!counts) return undefined;
      if (counts[scope] >= MAX_BOARDS[scope]) return scope;
      return counts.total >= MAX_BOARDS.total ? 'total' : undefined;
    },
    insert,
    replace(board) {
      const blanked = remove(board.boardId);
      return blanked === 0 ? 0 : blanked + insert(board);
    },
    delete: remove,
  };
}

function toBoard({ id: _, filteredUsers, ...row }: Row): StoredBoard {
  return { ...row, filteredUsers: filteredUsers === null ? [] : JSON.parse(filteredUsers) };
}
