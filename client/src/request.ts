import { type Batch, isMetric } from './batch.ts';

/** How long a request may take, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** The longest `Retry-After` that is honored, in milliseconds. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/** An invalid value in a request body, as the server reports it. */
interface Issue {
  loc: (string | number)[];
  msg: string;
}

/** A response, or what takes its place. */
export interface Outcome {
  /** The HTTP status; 0 without a response. */
  status: number;
  /** Whether the server has stored the batch. */
  isStored: boolean;
  /** Whether the batch may be stored nevertheless. */
  isUnknown: boolean;
  /** Whether the same request can succeed later. */
  isTemporary: boolean;
  code: string;
  message: string;
  /** The invalid items, with the reason. */
  invalid: Map<string, Issue>;
  /** How long the server asks to wait, in milliseconds. */
  retryAfterMs: number;
  /** How far the server's clock is ahead of this one, in milliseconds; undefined if that cannot be said. */
  clockAheadMs: number | undefined;
}

/**
 * Sends a batch to the server. Never rejects.
 *
 * @param url the server's URL, without a slash at the end
 */
export async function post(url: string, batch: Batch, token: string, keepalive: boolean): Promise<Outcome> {
  const { items, key } = batch;
  const startedAt = Date.now();
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), TIMEOUT_MS);
  const lists: Record<string, string[]> = {
    metrics: items.filter(isMetric),
    analytics: items.filter((item) => !isMetric(item)),
  };
  let response: Response | undefined;
  let body: { code?: string; message?: string; detail?: Issue[]; metrics?: string[]; analytics?: string[] } = {};
  let cause: { code?: string; cause?: { code?: string } } = {};
  try {
    response = await fetch(`${url}/log_batch`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: `{"metrics":[${lists['metrics']}],"analytics":[${lists['analytics']}]}`,
      credentials: 'omit',
      ...(keepalive && { keepalive }), // in Bun, false closes the connection
      signal: controller.signal,
    });
    body = Object((await response.json()) as unknown);
  } catch (error) {
    cause = Object(error);
  }
  clearTimeout(timer);

  const { status = 0, headers } = response ?? {};
  const { code = '', message = '', detail } = body;
  const retryAfter = headers?.get('Retry-After') ?? '';
  const invalid = new Map<string, Issue>();
  for (const issue of status === 422 && Array.isArray(detail) ? detail : []) {
    const [, list = '', index = ''] = issue.loc;
    const item = lists[list]?.[+index];
    if (!item) continue;
    // only the first use of each name is reported; an item starts with its name
    const [start] = (code === 'too_many_names' && /.*?:"(\\.|[^"])*"/.exec(item)) || [item];
    for (const other of items) if (other.startsWith(start) && !invalid.has(other)) invalid.set(other, issue);
  }
  const now = Date.now();
  const date = Date.parse(headers?.get('Date') ?? '');
  return {
    status,
    // a proxy or a captive portal can respond 200 too; and the key is random, so its other use was an earlier part of
    // this batch: see Store
    isStored: (status === 200 && !!body.metrics) || code === 'idempotency_mismatch',
    isUnknown: response
      ? status < 400 || !code || code === 'storage_unavailable' || code === 'internal'
      : !/REFUSED|NOTFOUND|EAI_AGAIN/i.test(`${cause.code} ${cause.cause?.code}`),
    isTemporary:
      status < 400 || status > 499 || [408, 425, 429].includes(status) || (!code && [404, 405].includes(status)),
    code: code || (status ? 'http_error' : 'network_error'),
    message,
    invalid,
    retryAfterMs: Math.min(+retryAfter * 1000 || Date.parse(retryAfter) - now || 0, MAX_RETRY_AFTER_MS),
    // not after the machine slept meanwhile
    clockAheadMs: now - startedAt < TIMEOUT_MS && date ? date - now : undefined,
  };
}
