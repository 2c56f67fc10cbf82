import { Elysia } from 'elysia';
import type { SharedBoard } from '../../board-responses.ts';
import { ApiError } from '../../errors.ts';
import { formatTimestamp } from '../../formats/timestamp.ts';
import type { RateLimit } from '../../ingest/rate-limit.ts';
import type { BoardLinkStore, StoredLink } from '../../storage/board-link-store.ts';
import type { BoardStore, StoredBoard } from '../../storage/board-store.ts';
import { chartAt, chartsOf, isVisible } from '../board-access.ts';
import type { ChartScope } from '../board-charts.ts';
import { readStored } from '../changes.ts';
import { chartJson, type DrawnChartParts, headOf } from '../drawn-chart.ts';
import { whileBusy } from '../idle-timeout.ts';
import { reportLag } from '../lag-headers.ts';
import { documentBoardRoute } from '../openapi-boards.ts';
import { readQuery } from '../parameters.ts';
import type { SharedCharts } from '../shared-charts.ts';
import { zoneOffsets } from '../zone-offsets.ts';
import { hashOfLink } from './boards.ts';

/** The value of a link: 256 bits in base64url. */
const LINK_VALUE = /^[\w-]{43}$/;

/** Dependencies of the routes of shared boards. */
export interface SharedParts extends DrawnChartParts {
  readonly boards: Pick<BoardStore, 'find'>;
  readonly links: Pick<BoardLinkStore, 'withHash'>;
  readonly sharedCharts: Pick<SharedCharts, 'draw'>;
  /** Requests per link. */
  readonly linkRequests: RateLimit;
  readonly idleTimeoutSeconds: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/** Creates the routes of shared boards, which need a link's value in place of a token, and have no parameters. */
export function sharedRoutes(parts: SharedParts) {
  const { boards, links, sharedCharts, linkRequests, now, idleTimeoutSeconds } = parts;

  /**
   * Returns the board of the request's link, and whose rows its charts read.
   *
   * @throws {ApiError} `unauthorized`, with the same message for a link that never existed, has expired or was revoked;
   *   `rate_limited`; `validation_failed` if there are parameters
   */
  function open(request: Request): { link: StoredLink; board: StoredBoard; scope: ChartScope } {
    const value = request.headers.get('x-board-link');
    const link = value !== null && LINK_VALUE.test(value) ? find(value) : undefined;
    const board = link && readStored(() => boards.find(link.boardId));
    // a board for everyone can become that of another account
    if (!link || !board || !isVisible(board, link.creator)) {
      throw new ApiError('unauthorized', { message: INVALID_LINK, tokenRejection: 'shared_link' });
    }
    linkRequests.take(link.linkId, 1);
    readQuery(request, {});
    return { link, board, scope: { user: link.isForAll ? undefined : link.creator } };
  }

  function find(value: string): StoredLink | undefined {
    const link = readStored(() => links.withHash(hashOfLink(value)));
    return link && link.expiresAt > now() ? link : undefined;
  }

  return new Elysia({ name: 'shared' })
    .get(
      '/api/shared',
      ({ request, set }): SharedBoard => {
        set.headers['referrer-policy'] = 'no-referrer';
        const { link, board } = open(request);
        const charts = chartsOf(board).map(headOf);
        return {
          name: board.name,
          expires_at: formatTimestamp(link.expiresAt * 1000),
          charts,
          zones: [...new Set(charts.map(({ tz }) => tz))].map(zoneOffsets),
        };
      },
      { detail: documentBoardRoute('getSharedBoard') },
    )
    .get(
      '/api/shared/charts/:index',
      async ({ request, server, params, set }) => {
        set.headers['referrer-policy'] = 'no-referrer';
        const { link, board, scope } = open(request);
        const chart = chartAt(board, params.index);
        const key = `${board.boardId} ${board.updatedAt} ${params.index}`;
        // all links of a creator take turns as one caller, and not as the creator; a user ID has no control characters
        const drawing = sharedCharts.draw(key, chart.query, scope, { key: `\0${link.creator}` });
        const drawn = await whileBusy({ request, server }, idleTimeoutSeconds, drawing);
        reportLag(set.headers, drawn.lag);
        set.headers['content-type'] = 'application/json';
        return chartJson(parts, chart, drawn, scope);
      },
      { detail: documentBoardRoute('drawSharedChart') },
    );
}

const INVALID_LINK = 'This shared link has expired, was revoked or is not valid';
