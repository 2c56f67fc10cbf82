import { createHash, randomBytes } from 'node:crypto';
import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll, type Principal } from '../../auth/verifier.ts';
import { type BoardBody, boardCheck, linkCheck } from '../../board-bodies.ts';
import type { Board, Boards, CreatedLink, Deleted, SharedLinks } from '../../board-responses.ts';
import { ApiError } from '../../errors.ts';
import { parseDuration } from '../../formats/duration.ts';
import { type AuditLog, AuditLogError } from '../../storage/audit-log.ts';
import { type BoardLinkStore, MAX_LINKS, type StoredLink } from '../../storage/board-link-store.ts';
import { type BoardStore, MAX_BOARDS, type StoredBoard } from '../../storage/board-store.ts';
import { usersFilteredBy } from '../../storage/board-users.ts';
import { isFullError } from '../../system-error.ts';
import { authenticate } from '../auth.ts';
import {
  canEdit,
  chartAt,
  checkId,
  noSuchBoard,
  randomId,
  toBoard,
  toLink,
  toListedBoard,
  visibleBoard,
} from '../board-access.ts';
import { checkCharts, type DrawChart, scopeOfCharts } from '../board-charts.ts';
import { readJson } from '../body.ts';
import { admitChange, type ChangeParts, commitChange, readStored } from '../changes.ts';
import { chartJson, type DrawnChartParts } from '../drawn-chart.ts';
import { whileBusy } from '../idle-timeout.ts';
import { reportLag } from '../lag-headers.ts';
import { documentBoardRoute } from '../openapi-boards.ts';
import { documentParameters, readQuery, valueError } from '../parameters.ts';
import { validate } from '../validation.ts';

/** Largest body of a board, in bytes. */
const MAX_BODY_BYTES = 65_536;
/** How long a link works, in seconds. */
const LINK_SECONDS = { default: 30 * 86_400, shortest: 60, longest: 365 * 86_400 };

/** Dependencies of the routes of boards. */
export interface BoardParts extends ChangeParts, DrawnChartParts {
  readonly verify: CachedVerifier;
  readonly boards: BoardStore;
  readonly links: BoardLinkStore;
  readonly drawChart: DrawChart;
  readonly audit: Pick<AuditLog, 'link'>;
  readonly idleTimeoutSeconds: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

const LINK_FILTER = {
  board_id: {
    description: 'Only links of this board.',
    schema: { type: 'string' },
    parse: (value: string) => ({ value }),
  },
};

/** Creates the routes of boards and of the shared links to them. */
export function boardRoutes(parts: BoardParts) {
  const { verify, boards, links, queue, drawChart, audit, now, idleTimeoutSeconds } = parts;

  /** Reads and checks a board that a caller wants to store. */
  async function readBoard(request: Request, principal: Principal): Promise<BoardBody & { readonly bytes: number }> {
    const { value, bytes } = await readJson(request, MAX_BODY_BYTES, { grow: () => true });
    const body = validate('body', boardCheck, value);
    if (body.scope === 'everyone' && principal.role !== 'admin') throw new ApiError('forbidden');
    checkCharts(body, principal);
    admitChange(parts, principal, bytes);
    return { ...body, bytes };
  }

  async function create(request: Request): Promise<Board> {
    const principal = await authenticate(request.headers, verify);
    readQuery(request, {});
    const { name, scope, charts, bytes } = await readBoard(request, principal);
    const time = now();
    const board: StoredBoard = {
      ...{ boardId: randomId(), owner: principal.userId, scope, name, charts: JSON.stringify(charts) },
      ...{ chartCount: charts.length, filteredUsers: usersFilteredBy(charts), createdAt: time, updatedAt: time },
    };
    const full = await commitChange(queue, bytes, () => {
      const outcome = boards.fullFor(principal.userId, scope);
      return { changes: outcome ? 0 : boards.insert(board), outcome };
    });
    if (full) throw tooMany(full === 'total' ? 'boards in total' : `boards for ${BOARD_OWNER[full]}`, MAX_BOARDS[full]);
    return toBoard(board, principal);
  }

  async function update(request: Request, id: string | undefined): Promise<Board> {
    const principal = await authenticate(request.headers, verify);
    readQuery(request, {});
    const before = editable(id, principal);
    const { name, scope, charts, bytes } = await readBoard(request, principal);
    // a board of one account without an owner would belong to nobody
    if (scope === 'account' && before.owner !== principal.userId) throw new ApiError('forbidden');
    const board: StoredBoard = {
      ...{ ...before, scope, name, charts: JSON.stringify(charts), chartCount: charts.length },
      filteredUsers: usersFilteredBy(charts),
      updatedAt: Math.max(now(), before.updatedAt + 1),
    };
    const isStored = await commitChange(queue, bytes, () => {
      const current = boards.find(before.boardId);
      // it may have been deleted, erased or moved since it was read
      const outcome = current !== undefined && current.scope === before.scope && current.owner === before.owner;
      if (!outcome) return { changes: 0, outcome };
      // queries of a caller who cannot read all rows must not run over all rows, although a link allowed that before
      const narrowed = canReadAll(principal) ? 0 : links.narrow(before.boardId);
      return { changes: narrowed + boards.replace(board), outcome };
    });
    if (!isStored) throw noSuchBoard();
    return toBoard(board, principal);
  }

  /** Returns a board that a caller may change. */
  function editable(id: string | undefined, principal: Principal): StoredBoard {
    const board = readStored(() => visibleBoard(boards, id, principal));
    if (!canEdit(board, principal)) throw new ApiError('forbidden');
    return board;
  }

  async function createLink(request: Request, id: string | undefined, requestId: string): Promise<CreatedLink> {
    const principal = await authenticate(request.headers, verify);
    readQuery(request, {});
    const { boardId } = readStored(() => visibleBoard(boards, id, principal));
    const { value: body, bytes } = await readJson(request, MAX_BODY_BYTES, { grow: () => true });
    const { expires } = validate('body', linkCheck, body);
    const seconds = expires === undefined ? LINK_SECONDS.default : secondsOf(expires);
    admitChange(parts, principal, bytes);
    const value = randomBytes(32).toString('base64url');
    const time = now();
    const link: StoredLink = {
      ...{ linkId: randomId(), boardId, creator: principal.userId, isForAll: canReadAll(principal) },
      ...{ createdAt: time, expiresAt: time + seconds * 1000 },
    };
    // before the audit log: otherwise requests beyond the limit would fill it
    checkRoom(readStored(() => links.fullFor(link)));
    const created = toLink(link);
    await writeAudit(principal, requestId, {
      ...{ action: 'share', link: link.linkId, rows: created.rows, expires_at: created.expires_at },
    });
    const outcome = await commitChange(queue, bytes, () => {
      const full = boards.find(boardId) ? links.fullFor(link) : ('gone' as const);
      return { changes: full === undefined ? links.insert(link, hashOfLink(value)) : 0, outcome: full };
    });
    if (outcome === 'gone') throw noSuchBoard();
    checkRoom(outcome);
    return { ...created, value, path: `/share#${value}` };
  }

  /**
   * @param full the limit that a new link would exceed
   * @throws {ApiError} `validation_failed` if there is one
   */
  function checkRoom(full: keyof typeof MAX_LINKS | undefined): void {
    if (full) throw tooMany(LINKS[full], MAX_LINKS[full]);
  }

  async function revokeLink(request: Request, given: string | undefined, requestId: string): Promise<Deleted> {
    const principal = await authenticate(request.headers, verify);
    readQuery(request, {});
    const id = checkId(given, NO_LINK);
    const link = readStored(() => links.find(id));
    if (!link || (link.creator !== principal.userId && principal.role !== 'admin')) {
      throw new ApiError('not_found', { message: NO_LINK });
    }
    admitChange(parts, principal, 0);
    const changes = await commitChange(queue, 0, () => {
      const outcome = links.delete(id);
      return { changes: outcome, outcome };
    });
    if (changes === 0) throw new ApiError('not_found', { message: NO_LINK });
    await writeAudit(principal, requestId, { action: 'unshare', link: id });
    return { id };
  }

  /** Writes to the audit log. A link is returned only after its entry is on disk. */
  async function writeAudit({ userId }: Principal, requestId: string, change: Parameters<AuditLog['link']>[1]) {
    try {
      await audit.link({ userId, requestId }, change);
    } catch (error) {
      if (!(error instanceof AuditLogError)) throw error;
      throw new ApiError(isFullError(error) ? 'storage_full' : 'storage_unavailable', { cause: error });
    }
  }

  return new Elysia({ name: 'boards' })
    .decorate('requestId', '') // set by request-start.ts
    .get(
      '/api/boards',
      async ({ request }): Promise<Boards> => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        const visible = readStored(() => boards.visibleTo(principal.userId));
        return { boards: visible.map((board) => toListedBoard(board, principal)) };
      },
      { detail: documentBoardRoute('listBoards') },
    )
    .post('/api/boards', ({ request }) => create(request), {
      parse: 'none',
      detail: documentBoardRoute('createBoard'),
    })
    .get(
      '/api/boards/:board_id',
      async ({ request, params }): Promise<Board> => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        return toBoard(
          readStored(() => visibleBoard(boards, params.board_id, principal)),
          principal,
        );
      },
      { detail: documentBoardRoute('getBoard') },
    )
    .put('/api/boards/:board_id', ({ request, params }) => update(request, params.board_id), {
      parse: 'none',
      detail: documentBoardRoute('updateBoard'),
    })
    .delete(
      '/api/boards/:board_id',
      async ({ request, params }): Promise<Deleted> => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        const { boardId: id } = editable(params.board_id, principal);
        admitChange(parts, principal, 0);
        const isDeleted = await commitChange(queue, 0, () => {
          const changes = links.deleteOf(id) + boards.delete(id);
          return { changes, outcome: changes > 0 };
        });
        if (!isDeleted) throw noSuchBoard();
        return { id };
      },
      { detail: documentBoardRoute('deleteBoard') },
    )
    .get(
      '/api/boards/:board_id/charts/:index',
      async ({ request, server, params, set, route, requestId }) => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        const board = readStored(() => visibleBoard(boards, params.board_id, principal));
        const chart = chartAt(board, params.index);
        const scope = scopeOfCharts(principal);
        const client = { principal, request, route, requestId };
        const { userId: key } = principal;
        const caller = { key, canReadAll: canReadAll(principal), signal: request.signal, client };
        const drawing = drawChart(chart.query, scope, caller);
        const drawn = await whileBusy({ request, server }, idleTimeoutSeconds, drawing);
        reportLag(set.headers, drawn.lag);
        set.headers['content-type'] = 'application/json';
        return chartJson(parts, chart, drawn, scope);
      },
      { detail: documentBoardRoute('drawBoardChart') },
    )
    .post(
      '/api/boards/:board_id/links',
      ({ request, params, set, requestId }) => {
        set.headers['cache-control'] = 'no-store';
        return createLink(request, params.board_id, requestId);
      },
      { parse: 'none', detail: documentBoardRoute('createSharedLink') },
    )
    .get(
      '/api/links',
      async ({ request }): Promise<SharedLinks> => {
        const principal = await authenticate(request.headers, verify);
        const { board_id } = readQuery(request, LINK_FILTER);
        const creator = principal.role === 'admin' ? undefined : principal.userId;
        const time = now();
        const found = readStored(() => links.list(creator)).filter(
          ({ boardId, expiresAt }) => expiresAt > time && (board_id === undefined || boardId === board_id),
        );
        return { links: found.map(toLink) };
      },
      { detail: documentBoardRoute('listSharedLinks', documentParameters(LINK_FILTER)) },
    )
    .delete('/api/links/:link_id', ({ request, params, requestId }) => revokeLink(request, params.link_id, requestId), {
      detail: documentBoardRoute('revokeSharedLink'),
    });
}

const NO_LINK = 'No such shared link';

const BOARD_OWNER = { account: 'one account', everyone: 'everyone' } as const;

/** What each limit on links counts. */
const LINKS = {
  board: 'links to a board',
  ofUsers: 'links of users who are neither admins nor viewers',
  total: 'links in total',
} as const;

function tooMany(what: string, max: number): ApiError {
  const issue = { loc: ['body'], ...valueError(`there can be at most ${max} ${what}`) };
  return new ApiError('validation_failed', { issues: [issue] });
}

/** Returns the hash under which the value of a link is stored. */
export function hashOfLink(value: string): Uint8Array {
  return createHash('sha256').update(value).digest();
}

/**
 * Parses how long a link works.
 *
 * @throws {ApiError} `validation_failed`
 */
function secondsOf(expires: string): number {
  try {
    const seconds = parseDuration(expires);
    if (seconds >= LINK_SECONDS.shortest && seconds <= LINK_SECONDS.longest) return seconds;
  } catch {
    // reported below
  }
  const issue = valueError('the duration should be a number followed by m, h or d, such as 30d, up to 365d');
  throw new ApiError('validation_failed', { issues: [{ loc: ['body', 'expires'], ...issue }] });
}
