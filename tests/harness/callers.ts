import { type HttpResponse, send } from './client.ts';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

/** A user who calls the API: the ID, and the role if there is one. */
export type Caller = readonly [userId: string, role?: string];

export const ROOT: Caller = ['root', 'admin'];
/** Is a viewer where JWT_VIEWER_ROLES is `viewer`. */
export const VIEWER: Caller = ['vera', 'viewer'];
export const ADA: Caller = ['ada'];

/** Sends a request with a JSON body as a caller. */
export async function callAs(
  target: Pick<Target, 'url'>,
  [userId, role]: Caller,
  method: string,
  path: string,
  body?: unknown,
): Promise<HttpResponse> {
  const authorization = `Bearer ${await token({ sub: userId, ...(role && { role }) })}`;
  return send(target.url + path, {
    method,
    headers: { authorization, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}
