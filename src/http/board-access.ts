import { randomBytes } from 'node:crypto';
import type { Principal } from '../auth/verifier.ts';
import type { BoardChart } from '../board-bodies.ts';
import type { Board, Boards, SharedLink } from '../board-responses.ts';
import { ApiError } from '../errors.ts';
import { formatTimestamp } from '../formats/timestamp.ts';
import type { StoredLink } from '../storage/board-link-store.ts';
import type { BoardStore, ListedBoard, StoredBoard } from '../storage/board-store.ts';

/** The form of the random IDs of boards, links and annotations. */
const RANDOM_ID = /^[\w-]{22}$/;

/** Returns a random ID: 128 bits in base64url. */
export function randomId(): string {
  return randomBytes(16).toString('base64url');
}

/**
 * Checks an ID in a path.
 *
 * @throws {ApiError} `not_found` if it cannot be the ID of anything
 */
export function checkId(id: string | undefined, message: string): string {
  if (id !== undefined && RANDOM_ID.test(id)) return id;
  throw new ApiError('not_found', { message });
}

const NO_BOARD = 'No such board';

/** Returns whether a user sees a board. */
export function isVisible({ scope, owner }: StoredBoard, userId: string): boolean {
  return scope === 'everyone' || owner === userId;
}

/** Returns whether a caller may change a board. */
export function canEdit({ scope, owner }: Pick<StoredBoard, 'scope' | 'owner'>, { userId, role }: Principal): boolean {
  return scope === 'everyone' ? role === 'admin' : owner === userId;
}

/**
 * Returns a board that a caller sees.
 *
 * @throws {ApiError} `not_found`, also for boards of other accounts
 */
export function visibleBoard(boards: BoardStore, id: string | undefined, { userId }: Principal): StoredBoard {
  const board = boards.find(checkId(id, NO_BOARD));
  if (!board || !isVisible(board, userId)) throw noSuchBoard();
  return board;
}

export function noSuchBoard(): ApiError {
  return new ApiError('not_found', { message: NO_BOARD });
}

/** Returns the charts of a stored board. */
export function chartsOf({ charts }: Pick<StoredBoard, 'charts'>): BoardChart[] {
  return JSON.parse(charts);
}

/**
 * Returns a chart of a board.
 *
 * @param index the position in the path
 * @throws {ApiError} `not_found`
 */
export function chartAt(board: StoredBoard, index: string | undefined): BoardChart {
  const chart = /^\d{1,2}$/.test(index ?? '') ? chartsOf(board)[Number(index)] : undefined;
  if (!chart) throw new ApiError('not_found', { message: 'No such chart on this board' });
  return chart;
}

const timeOf = (milliseconds: number) => formatTimestamp(milliseconds * 1000);

/** Returns a board as the API returns it to a caller. */
export function toBoard(board: StoredBoard, principal: Principal): Board {
  return { ...toListedBoard(board, principal), charts: chartsOf(board) };
}

/** Returns a board of a list, with the number of its charts. */
export function toListedBoard(board: ListedBoard, principal: Principal): Boards['boards'][number] {
  const { boardId: id, name, scope, chartCount: charts, createdAt, updatedAt } = board;
  const times = { created_at: timeOf(createdAt), updated_at: timeOf(updatedAt) };
  return { id, name, scope, can_edit: canEdit(board, principal), charts, ...times };
}

/** Returns a shared link as the API returns it. Its value is not stored. */
export function toLink({ linkId: id, boardId, creator, isForAll, createdAt, expiresAt }: StoredLink): SharedLink {
  return {
    ...{ id, board_id: boardId, user_id: creator, rows: isForAll ? 'all' : 'user' },
    ...{ created_at: timeOf(createdAt), expires_at: timeOf(expiresAt) },
  };
}
