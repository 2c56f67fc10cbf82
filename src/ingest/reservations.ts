import type { CommitQueue, QueueBounds } from './commit-queue.ts';

/** The part of all bytes that the bodies of one user may take, except for admins: others' bodies still fit. */
const USER_SHARE = 1 / 4;

/** Memory that is set aside for the body of a request, from before it is read until its records are queued. */
export interface Reservation {
  /**
   * Makes the reservation larger, as more of a body arrives than was known.
   *
   * @returns whether there is room
   */
  grow(bytes: number): boolean;
  /** Gives the memory back. May be called again. */
  release(): void;
}

/** Bounds the memory of bodies that are being received, together with the records that wait for their commit. */
export interface Reservations {
  /**
   * Sets memory aside for a body, before any of it is read.
   *
   * @param userId the caller
   * @param isShared whether the caller may take a part of the memory only
   * @returns undefined if there is no room
   */
  reserve(userId: string, bytes: number, isShared: boolean): Reservation | undefined;
}

/**
 * @param queue what waits for its commit counts as well
 * @param maxBodyBytes one body always fits a user's part
 */
export function createReservations(
  queue: Pick<CommitQueue, 'hasRoom'>,
  bounds: QueueBounds,
  maxBodyBytes: number,
): Reservations {
  const byUser = new Map<string, number>();
  const share = Math.max(maxBodyBytes, bounds.bytes * USER_SHARE);
  let total = 0;

  /** Takes more bytes for a user if there is room. */
  function take(userId: string, bytes: number, isShared: boolean): boolean {
    const own = byUser.get(userId) ?? 0;
    if (!queue.hasRoom(total + bytes) || (isShared && own + bytes > share)) return false;
    total += bytes;
    byUser.set(userId, own + bytes);
    return true;
  }

  function giveBack(userId: string, bytes: number): void {
    total -= bytes;
    const own = (byUser.get(userId) ?? 0) - bytes;
    if (own > 0) byUser.set(userId, own);
    else byUser.delete(userId);
  }

  return {
    reserve(userId, bytes, isShared) {
      if (!take(userId, bytes, isShared)) return undefined;
      let held = bytes;
      return {
        grow(more) {
          if (!take(userId, more, isShared)) return false;
          held += more;
          return true;
        },
        release() {
          giveBack(userId, held);
          held = 0;
        },
      };
    },
  };
}
