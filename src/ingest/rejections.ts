import type { ErrorCode, ValidationIssue } from '../errors.ts';

/** Number of recent rejections kept per error code, so that a flood of one code does not evict the others. */
const MAX_PER_CODE = 100;

/** A rejected request, with the text of its error response. */
export interface Rejection {
  readonly code: ErrorCode;
  /** The path of the recording route. */
  readonly route: string;
  /** The number of items counted in the ledger. */
  readonly items: number;
  /** The caller; null without a valid token, or if requests of several users are aggregated. */
  readonly userId: string | null;
  readonly requestId: string;
  readonly message: string;
  readonly issues: readonly ValidationIssue[];
}

/** A rejection with its time. */
export interface RecentRejection extends Rejection {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Increases when more rejections are aggregated into this one. */
  items: number;
}

/** The recent rejections since the server started, kept only in memory. */
export interface Rejections {
  /** Adds a rejection. The caller may increase `items` of the returned one to aggregate further rejections. */
  add(rejection: Rejection): RecentRejection;
  /**
   * Returns the newest rejections, newest first.
   *
   * @param filter the user and error code; undefined for all
   */
  newest(filter: { user: string | undefined; code: ErrorCode | undefined }, limit: number): RecentRejection[];
  /** Removes the rejections of a user. */
  removeUser(userId: string): void;
}

/**
 * Creates an empty list of recent rejections.
 *
 * @param now returns the time in milliseconds since 1970
 */
export function createRejections(now: () => number): Rejections {
  // per code, in order of arrival
  const byCode = new Map<ErrorCode, { order: number; rejection: RecentRejection }[]>();
  let count = 0;

  return {
    add(rejection) {
      const added = { at: now(), ...rejection };
      const sameCode = byCode.get(rejection.code) ?? [];
      byCode.set(rejection.code, sameCode);
      sameCode.push({ order: ++count, rejection: added });
      if (sameCode.length > MAX_PER_CODE) sameCode.shift();
      return added;
    },
    newest({ user, code }, limit) {
      const found = code === undefined ? [...byCode.values()].flat() : (byCode.get(code) ?? []);
      return found
        .filter(({ rejection }) => user === undefined || rejection.userId === user)
        .sort((a, b) => b.order - a.order) // not by time, because the clock may step back
        .slice(0, limit)
        .map(({ rejection }) => rejection);
    },
    removeUser(userId) {
      for (const [code, sameCode] of byCode) {
        byCode.set(
          code,
          sameCode.filter(({ rejection }) => rejection.userId !== userId),
        );
      }
    },
  };
}
