import type { ErrorCode, ValidationIssue } from '../errors.ts';

/**
 * Number of recent rejections kept per error code, so that a flood of one code does not evict the others. Beyond it, the
 * oldest one of the user with the most is dropped, so that a flood of one user does not evict those of others.
 */
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

/** A rejection, and its place in the order of arrival. */
interface Entry {
  readonly order: number;
  readonly rejection: RecentRejection;
}

/** The rejections of one code, by user, each in order of arrival. */
interface OfCode {
  readonly byUser: Map<string | null, Entry[]>;
  count: number;
}

/** Drops the oldest rejection of the user with the most; of several such users, the oldest of all. */
function dropOne(ofCode: OfCode): void {
  let most: Entry[] = [];
  for (const entries of ofCode.byUser.values()) {
    const isOlder = entries.length === most.length && Number(entries[0]?.order) < Number(most[0]?.order);
    if (entries.length > most.length || isOlder) most = entries;
  }
  const dropped = most.shift();
  if (dropped && most.length === 0) ofCode.byUser.delete(dropped.rejection.userId);
  ofCode.count--;
}

/**
 * Creates an empty list of recent rejections.
 *
 * @param now returns the time in milliseconds since 1970
 */
export function createRejections(now: () => number): Rejections {
  const byCode = new Map<ErrorCode, OfCode>();
  let count = 0;

  return {
    add(rejection) {
      const added = { at: now(), ...rejection };
      const { code, userId } = rejection;
      const ofCode = byCode.get(code) ?? { byUser: new Map(), count: 0 };
      byCode.set(code, ofCode);
      const ofUser = ofCode.byUser.get(userId) ?? [];
      ofCode.byUser.set(userId, ofUser);
      ofUser.push({ order: ++count, rejection: added });
      if (++ofCode.count > MAX_PER_CODE) dropOne(ofCode);
      return added;
    },
    newest({ user, code }, limit) {
      const codes = code === undefined ? [...byCode.values()] : [byCode.get(code)];
      return codes
        .flatMap((ofCode) => (user === undefined ? [...(ofCode?.byUser.values() ?? [])] : [ofCode?.byUser.get(user)]))
        .flatMap((entries) => entries ?? [])
        .sort((a, b) => b.order - a.order) // not by time, because the clock may step back
        .slice(0, limit)
        .map(({ rejection }) => rejection);
    },
    removeUser(userId) {
      for (const ofCode of byCode.values()) {
        ofCode.count -= ofCode.byUser.get(userId)?.length ?? 0;
        ofCode.byUser.delete(userId);
      }
    },
  };
}
