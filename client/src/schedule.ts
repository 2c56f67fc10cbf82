/** The longest delay between attempts, in milliseconds. */
const MAX_DELAY_MS = 60_000;

/**
 * Returns the delay before the next attempt, in milliseconds: 1 s doubled per failure up to a minute, of which up to half
 * is random; or what the server asks for, and up to a tenth more.
 */
export function delayAfter(failures: number, retryAfterMs: number): number {
  const backoffMs = Math.min(500 * 2 ** failures, MAX_DELAY_MS);
  return Math.max(backoffMs * (1 - Math.random() / 2), retryAfterMs * (1 + Math.random() / 10));
}

/** Lets a process of Node or Bun end although a timer runs. */
export function unref(timer: ReturnType<typeof setTimeout>): void {
  (timer as { unref?: () => void }).unref?.();
}
