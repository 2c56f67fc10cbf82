import { randomBytes } from 'node:crypto';
import { Elysia } from 'elysia';

/** The response header that names a request; the log names it `request_id`. */
export const REQUEST_ID_HEADER = 'x-request-id';

/** Names every request, before anything else can fail: a part drawn at the start, and a counter. */
export function requestId() {
  const start = randomBytes(6).toString('hex');
  let count = 0;
  return new Elysia({ name: 'request-id' }).onRequest(({ set }) => {
    set.headers[REQUEST_ID_HEADER] = `${start}-${(++count).toString(36)}`;
  });
}
