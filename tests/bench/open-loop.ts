/** A request of an open loop: when it was due, on the monotonic clock, and how long after that its response arrived. */
export interface OpenLoopRequest {
  readonly dueAtMs: number;
  readonly latencyMs: number;
}

/** A load with a fixed rate, which slow responses do not reduce. */
export interface OpenLoop {
  /** Stops sending, and waits for all responses. Returns the completed requests, and the number of failed ones. */
  stop(): Promise<{ readonly completed: readonly OpenLoopRequest[]; readonly failed: number }>;
}

/**
 * Sends requests at a fixed rate. A late request counts from the time at which it was due.
 *
 * @param send sends a request, given its number, and rejects if it fails
 */
export function startOpenLoop(perSecond: number, send: (number: number) => Promise<unknown>): OpenLoop {
  const startedAt = performance.now();
  const completed: OpenLoopRequest[] = [];
  const open = new Set<Promise<void>>();
  let failed = 0;
  let sent = 0;
  let timer = setTimeout(sendDue, 0);

  function sendDue(): void {
    for (;;) {
      const dueAtMs = startedAt + (sent / perSecond) * 1000;
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(sendDue, waitMs);
        return;
      }
      const request: Promise<void> = send(sent++)
        .then(
          () => {
            completed.push({ dueAtMs, latencyMs: performance.now() - dueAtMs });
          },
          () => {
            failed++;
          },
        )
        .finally(() => open.delete(request));
      open.add(request);
    }
  }

  return {
    async stop() {
      clearTimeout(timer);
      await Promise.all(open);
      return { completed, failed };
    },
  };
}
