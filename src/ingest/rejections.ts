import type { ErrorCode, ValidationIssue } from '../errors.ts';

/** How many rejections of each code are kept, the last ones: a flood of one code pushes out no other. */
const KEPT_OF_A_CODE = 100;

/** A request whose items were rejected, in the words that its sender was answered. */
export interface Rejection {
  readonly code: ErrorCode;
  /** The path of the recording route. */
  readonly route: string;
  /** How many items the ledger counts for it. */
  readonly items: number;
  /** Who sent it; null where nobody knows, as without a good token, or where it stands for several. */
  readonly userId: string | null;
  readonly requestId: string;
  readonly message: string;
  readonly issues: readonly ValidationIssue[];
}

/** A rejection that is kept. */
export interface RecentRejection extends Rejection {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Grows where further ones are added to it. */
  items: number;
}

/** Why items were rejected lately, in memory alone: since the start of the server. */
export interface Rejections {
  /** Keeps a rejection. The caller may add the items of others of its kind to what it is given. */
  add(rejection: Rejection): RecentRejection;
  /**
   * The newest rejections, newest first.
   *
   * @param filter whose, and of which code; undefined: all
   */
  newest(filter: { user: string | undefined; code: ErrorCode | undefined }, limit: number): RecentRejection[];
  /** Forgets what a user sent. */
  removeUser(userId: string): void;
}

/** @param now the clock, in milliseconds since 1970 */
export function createRejections(now: () => number): Rejections {
  // in the order of their coming, by code
  const kept = new Map<ErrorCode, { order: number; rejection: RecentRejection }[]>();
  let count = 0;

  return {
    add(rejection) {
      const added = { at: now(), ...rejection };
      const ofCode = kept.get(rejection.code) ?? [];
      kept.set(rejection.code, ofCode);
      ofCode.push({ order: ++count, rejection: added });
      if (ofCode.length > KEPT_OF_A_CODE) ofCode.shift();
      return added;
    },
    newest({ user, code }, limit) {
      const found = code === undefined ? [...kept.values()].flat() : (kept.get(code) ?? []);
      return found
        .filter(({ rejection }) => user === undefined || rejection.userId === user)
        .sort((a, b) => b.order - a.order) // the clock may step back
        .slice(0, limit)
        .map(({ rejection }) => rejection);
    },
    removeUser(userId) {
      for (const [code, ofCode] of kept) {
        kept.set(
          code,
          ofCode.filter(({ rejection }) => rejection.userId !== userId),
        );
      }
    },
  };
}
