/** How many items each request has that is no single one. */
const items = new WeakMap<Request, number>();

/** The routes whose requests the ledger counts. */
const RECORDING = new Set(['/log_raw_metric', '/log_raw_analytics', '/log_batch']);

/** Notes how many items a parsed body has, before it is known to be valid: a batch's lists, otherwise one. */
export function noteItems(request: Request, body: unknown): void {
  if (typeof body !== 'object' || body === null) return;
  const lists = ['metrics', 'analytics'].map((name) => (body as Record<string, unknown>)[name]).filter(Array.isArray);
  const count = lists.reduce((sum, list) => sum + list.length, 0);
  if (count > 0) items.set(request, count);
}

/** How many items a request counts for in the ledger: 1 where nobody could count them, 0 where it records nothing. */
export function itemsOf(request: Request, path: string): number {
  if (request.method !== 'POST' || !RECORDING.has(path)) return 0;
  return path === '/log_batch' ? (items.get(request) ?? 1) : 1;
}
