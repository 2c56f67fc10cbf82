import type { AlertMessage } from './alert.ts';

/** How long the receiver may take to respond. */
const TIMEOUT_MS = 10_000;

/** Why a message was not accepted. */
export interface WebhookFailure {
  /** Without the URL, which contains a secret. */
  readonly reason: string;
  /** How long the receiver asks to wait, in seconds. */
  readonly retryAfterSeconds: number | undefined;
}

/**
 * Sends a message to a webhook. Redirects are not followed, because the operator did not configure their target.
 *
 * @param signal cancels the request
 * @param timeoutMs for tests
 * @returns undefined if the receiver has accepted it, with a 2xx status. Never throws
 */
export async function postMessage(
  url: URL,
  message: AlertMessage,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<WebhookFailure | undefined> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(message),
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    void response.body?.cancel().catch(() => {}); // its content does not matter
    if (response.ok) return undefined;
    const retryAfter = response.headers.get('retry-after') ?? '';
    return {
      reason: response.status >= 300 && response.status < 400 ? 'a redirect' : `status ${response.status}`,
      retryAfterSeconds: /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined,
    };
  } catch (error) {
    // not its message, which can contain the URL
    const { name, code } = error as { name?: unknown; code?: unknown };
    const reason = name === 'TimeoutError' ? 'no response in time' : typeof code === 'string' ? code : 'no connection';
    return { reason, retryAfterSeconds: undefined };
  }
}
