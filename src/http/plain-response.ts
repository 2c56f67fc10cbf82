/** A response that is not yet a `Response`, so that a receiver can also send it. */
export interface PlainResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string | null;
}

/** Returns a `Response` for Elysia. */
export function toResponse({ status, headers, body }: PlainResponse): Response {
  return new Response(body, status === 200 ? { headers } : { status, headers });
}
