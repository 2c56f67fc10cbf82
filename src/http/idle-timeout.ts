/** Bun checks for idle connections every four seconds and closes them up to four seconds early. */
const CHECK_SECONDS = 4;
/** Bun stores the timeout in a byte. */
const MAX_SECONDS = 255;

/**
 * Returns the timeout to configure in Bun, in seconds, so that no connection is closed before it has been idle for the
 * given time. This holds for up to 251 s, because Bun's maximum is 255 s.
 */
export function bunTimeout(idleTimeoutSeconds: number): number {
  return Math.min(MAX_SECONDS, idleTimeoutSeconds + CHECK_SECONDS);
}

/** Returns the time for which Bun keeps an idle connection open at least, given its timeout; both in seconds. */
export function idleSecondsOf(timeout: number): number {
  return Math.max(0, timeout - CHECK_SECONDS);
}

/** A request, and the server that it was sent to. */
export interface BusyRequest {
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
}

/** Waits for the work of a request. A queued query sends no bytes, but its connection must not time out as idle. */
export async function whileBusy<Result>(
  { request, server }: BusyRequest,
  idleTimeoutSeconds: number,
  work: Promise<Result>,
): Promise<Result> {
  server?.timeout(request, 0);
  try {
    return await work;
  } finally {
    server?.timeout(request, bunTimeout(idleTimeoutSeconds));
  }
}
