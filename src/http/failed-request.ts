/** What the route of a request knew of it when it failed: for the error handling. */
export interface FailedRequest {
  readonly requestId: string;
  /** On the monotonic clock, in milliseconds. */
  readonly startedAt: number;
  /** How many items it was to record; 1 where nobody could count them. */
  readonly items: number;
  /** Who sent it; undefined where it failed before that was known. */
  readonly sender: string | undefined;
}

const notes = new WeakMap<Request, FailedRequest>();

/** Leaves word for the error handling, before the error is thrown on. */
export function noteFailed(request: Request, failed: FailedRequest): void {
  notes.set(request, failed);
}

/** What was noted of a request, if anything. */
export function failedRequest(request: Request): FailedRequest | undefined {
  return notes.get(request);
}

/** How many items the parsed body of a batch has, before it is known to be valid: 1 at least. */
export function itemsOfBatch(body: unknown): number {
  if (typeof body !== 'object' || body === null) return 1;
  const lists = ['metrics', 'analytics'].map((name) => (body as Record<string, unknown>)[name]).filter(Array.isArray);
  return Math.max(
    1,
    lists.reduce((sum, list) => sum + list.length, 0),
  );
}
