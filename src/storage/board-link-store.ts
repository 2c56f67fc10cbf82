import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/**
 * Maximum number of links per board and user, of those that show only the rows of their creators, and in total: so that a
 * few users cannot take the links of admins and viewers.
 */
export const MAX_LINKS = { board: 20, ofUsers: 9_000, total: 10_000 };

/** A stored link to a shared board. Its value is stored only as a hash. */
export interface StoredLink {
  readonly linkId: string;
  readonly boardId: string;
  /** The user who created it. */
  readonly creator: string;
  /** Whether its charts read the rows of all users; otherwise only those of its creator. */
  readonly isForAll: boolean;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

type Row = Omit<StoredLink, 'isForAll'> & { readonly id: number; readonly isForAll: number };

const COLUMNS = `id, link_id AS linkId, board_id AS boardId, creator, is_for_all AS isForAll, created_at AS createdAt,
  expires_at AS expiresAt`;

/** A partial index without the blank rows of former links, up to further conditions. */
const LIVE_LINKS = 'board_links INDEXED BY board_links_hash WHERE hash IS NOT NULL';

/** SQL that blanks rows of `board_links`, up to further conditions. */
export const BLANK_LINKS =
  'UPDATE board_links INDEXED BY board_links_hash SET link_id = NULL, hash = NULL, board_id = NULL, creator = NULL, created_at = 0, expires_at = 0 WHERE hash IS NOT NULL';

/** The shared links of a database. Functions that change it run in the caller's transaction and return the changed rows. */
export interface BoardLinkStore {
  /** Returns the links that a user has created, or all of them, oldest first. */
  list(creator: string | undefined): StoredLink[];
  find(linkId: string): StoredLink | undefined;
  /** Returns the link whose value has a SHA-256. */
  withHash(hash: Uint8Array): StoredLink | undefined;
  /** Returns which limit a new link would exceed; undefined if none. */
  fullFor(link: Pick<StoredLink, 'creator' | 'boardId' | 'isForAll'>): keyof typeof MAX_LINKS | undefined;
  insert(link: StoredLink, hash: Uint8Array): number;
  delete(linkId: string): number;
  /** Makes all links of a board show only the rows of their creators. */
  narrow(boardId: string): number;
  /** Deletes the links of a board. */
  deleteOf(boardId: string): number;
  /** Deletes all links. */
  deleteAll(): number;
  /** Returns whether a link expired before a time in milliseconds since 1970. */
  hasExpired(before: number): boolean;
  /** Deletes the links that expired before a time in milliseconds since 1970. */
  deleteExpired(before: number): number;
}

/** Opens the shared links of a database. */
export function openBoardLinkStore(client: Database): BoardLinkStore {
  const all = client.prepare<Row, []>(`SELECT ${COLUMNS} FROM ${LIVE_LINKS} ORDER BY id`);
  const ofCreator = client.prepare<Row, [string]>(`SELECT ${COLUMNS} FROM ${LIVE_LINKS} AND creator = ? ORDER BY id`);
  const findRow = client.prepare<Row, [string]>(`SELECT ${COLUMNS} FROM ${LIVE_LINKS} AND link_id = ?`);
  const findHash = client.prepare<Row, [Uint8Array]>(`SELECT ${COLUMNS} FROM board_links WHERE hash = ?`);
  const count = client.prepare<{ total: number; ofUsers: number; board: number }, [string, string]>(
    `SELECT count(*) AS total, coalesce(sum(is_for_all = 0), 0) AS ofUsers,
       coalesce(sum(creator = ? AND board_id = ?), 0) AS board
     FROM ${LIVE_LINKS}`,
  );
  const insertRow = client.prepare(
    `INSERT INTO board_links (link_id, hash, board_id, creator, is_for_all, created_at, expires_at)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const findExpired = client.prepare(`SELECT 1 FROM ${LIVE_LINKS} AND expires_at < ? LIMIT 1`);
  const blank = client.prepare(`${BLANK_LINKS} AND link_id = ?`);
  const blankBoard = client.prepare(`${BLANK_LINKS} AND board_id = ?`);
  const narrowBoard = client.prepare(
    'UPDATE board_links INDEXED BY board_links_hash SET is_for_all = 0 WHERE hash IS NOT NULL AND board_id = ? AND is_for_all = 1',
  );
  const blankExpired = client.prepare(`${BLANK_LINKS} AND expires_at < ?`);

  return {
    list: (creator) => (creator === undefined ? all.all() : ofCreator.all(creator)).map(toLink),
    find(linkId) {
      const row = findRow.get(linkId);
      return row ? toLink(row) : undefined;
    },
    withHash(hash) {
      const row = findHash.get(hash);
      return row ? toLink(row) : undefined;
    },
    fullFor({ creator, boardId, isForAll }) {
      const counts = count.get(creator, boardId);
      if (!counts) return undefined;
      if (counts.board >= MAX_LINKS.board) return 'board';
      if (!isForAll && counts.ofUsers >= MAX_LINKS.ofUsers) return 'ofUsers';
      return counts.total >= MAX_LINKS.total ? 'total' : undefined;
    },
    insert({ linkId, boardId, creator, isForAll, createdAt, expiresAt }, hash) {
      const { changes } = insertRow.run(linkId, hash, boardId, creator, Number(isForAll), createdAt, expiresAt);
      assertChanges(changes, 1);
      return changes;
    },
    delete: (linkId) => blank.run(linkId).changes,
    narrow: (boardId) => narrowBoard.run(boardId).changes,
    deleteOf: (boardId) => blankBoard.run(boardId).changes,
    deleteAll: () => client.run(BLANK_LINKS).changes,
    hasExpired: (before) => findExpired.get(before) !== null,
    deleteExpired: (before) => blankExpired.run(before).changes,
  };
}

function toLink({ id: _, isForAll, ...row }: Row): StoredLink {
  return { ...row, isForAll: isForAll === 1 };
}
