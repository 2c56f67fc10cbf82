import type { CommitQueue, QueueBounds } from './commit-queue.ts';

/** Maximum share of the memory per user, so that bodies of other users still fit. Admins are exempt. */
const USER_SHARE = 1 / 4;

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
   * @param isLimited whether the caller is limited to a share of the memory
   * @returns undefined if there is no room
   */
  reserve(userId: string, bytes: number, isLimited: boolean): Reservation | undefined;
}

/**
 * Creates reservations that share the bounds of a commit queue.
 *
 * @param queue its queued records count toward the bounds
 * @param maxBodyBytes a user's share is at least this large
 */
export function createReservations(
  queue: Pick<CommitQueue, 'hasRoom'>,
  bounds: QueueBounds,
  maxBodyBytes: number,
): Reservations {
  const byUser = new Map<string, number>();
  const share = Math.max(maxBodyBytes, bounds.bytes * USER_SHARE);
  let total = 0;

  /** Adds bytes to a user's total if there is room. */
  function take(userId: string, bytes: number, isLimited: boolean): boolean {
    const userBytes = byUser.get(userId) ?? 0;
    if (!queue.hasRoom(total + bytes) || (isLimited && userBytes + bytes > share)) return false;
    total += bytes;
    byUser.set(userId, userBytes + bytes);
    return true;
  }

  function release(userId: string, bytes: number): void {
    total -= bytes;
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
      release(this.#userId, this.#reserved);
    }
  }

  return {
    reserve: (userId, bytes, isLimited) =>
      take(userId, bytes, isLimited) ? new BodyReservation(userId, bytes, isLimited) : undefined,
  };
}
