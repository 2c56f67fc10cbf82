import type { CommitQueue, QueueBounds } from './commit-queue.ts';

/** Share of the memory reserved for admins, so that bodies of other users cannot lock them out. */
const RESERVED_SHARE = 1 / 4;
/**
 * Maximum share per user of the memory that other users' bodies leave, except for what is reserved. So some of it is left
 * for the next user, even if several users take all they can get. A user alone can take a quarter of the memory.
 */
const USER_SHARE = 1 / 3;

/** Memory reserved for the body of a request, from before it is read until its records are queued. */
export interface Reservation {
  /**
   * Enlarges the reservation while a large body arrives, or when a body is decompressed.
   *
   * @returns whether there was room
   */
  grow(bytes: number): boolean;
  /** Releases the memory. Safe to call more than once. */
  release(): void;
}

/** Limits the memory used by bodies in progress and queued records, combined. */
export interface Reservations {
  /**
   * Reserves memory for a body before any of it is read.
   *
   * @param userId the caller
   * @param isLimited whether the caller is limited to a share of the memory, as all but admins are
   * @returns undefined if there is no room
   */
  reserve(userId: string, bytes: number, isLimited: boolean): Reservation | undefined;
}

/**
 * Creates reservations that share the bounds of a commit queue.
 *
 * @param queue its queued records count toward the bounds
 * @param maxBodyBytes as long as no other user has a reservation, a user's share is at least this large
 */
export function createReservations(
  queue: Pick<CommitQueue, 'hasRoom'>,
  bounds: QueueBounds,
  maxBodyBytes: number,
): Reservations {
  /** The reservations of limited callers, by user and in total. */
  const byUser = new Map<string, number>();
  let limitedTotal = 0;
  const limitedBytes = Math.max(bounds.bytes * (1 - RESERVED_SHARE), maxBodyBytes);
  let total = 0;

  /** Returns how much a user may reserve while others have reserved this much. */
  function shareBeside(others: number): number {
    if (others === 0) return Math.max(limitedBytes * USER_SHARE, maxBodyBytes);
    const free = limitedBytes - others;
    return Math.max(free * USER_SHARE, Math.min(free / 2, maxBodyBytes)); // one large body is welcome to more
  }

  /** Adds bytes to a user's total if there is room. */
  function take(userId: string, bytes: number, isLimited: boolean): boolean {
    if (!queue.hasRoom(total + bytes)) return false;
    if (isLimited) {
      const userBytes = byUser.get(userId) ?? 0;
      if (userBytes + bytes > shareBeside(limitedTotal - userBytes)) return false;
      byUser.set(userId, userBytes + bytes);
      limitedTotal += bytes;
    }
    total += bytes;
    return true;
  }

  function release(userId: string, bytes: number, isLimited: boolean): void {
    total -= bytes;
    if (!isLimited) return;
    limitedTotal -= bytes;
    const userBytes = (byUser.get(userId) ?? 0) - bytes;
    if (userBytes > 0) byUser.set(userId, userBytes);
    else byUser.delete(userId);
  }

  // a class, because two closures per request would take twice the memory
  class BodyReservation implements Reservation {
    readonly #userId: string;
    readonly #isLimited: boolean;
    #reserved: number;
    #isReleased = false;

    constructor(userId: string, bytes: number, isLimited: boolean) {
      this.#userId = userId;
      this.#reserved = bytes;
      this.#isLimited = isLimited;
    }

    grow(bytes: number): boolean {
      if (!take(this.#userId, bytes, this.#isLimited)) return false;
      this.#reserved += bytes;
      return true;
    }

    release(): void {
      if (this.#isReleased) return;
      this.#isReleased = true;
      release(this.#userId, this.#reserved, this.#isLimited);
    }
  }

  return {
    reserve: (userId, bytes, isLimited) =>
      take(userId, bytes, isLimited) ? new BodyReservation(userId, bytes, isLimited) : undefined,
  };
}
