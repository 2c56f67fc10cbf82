import type { CachedVerifier } from '../auth/token-cache.ts';
import type { Principal } from '../auth/verifier.ts';
import { ApiError } from '../errors.ts';
import { isUserId } from '../records.ts';
import { USER_ID_ISSUE } from './validation.ts';

const BEARER = /^bearer +(\S+) *$/i;

/**
 * Finds out who sent a request, from its headers alone. The answer is a promise only where the token
 * has not been seen before: an await costs a turn of the event loop.
 *
 * @throws {ApiError} `unauthorized` or `keys_unavailable`
 */
export function authenticate(headers: Headers, verify: CachedVerifier): Principal | Promise<Principal> {
  return verify(bearerToken(headers));
}

/**
 * Returns the bearer token of a request.
 *
 * @throws {ApiError} `unauthorized` if there is none
 */
export function bearerToken(headers: Headers): string {
  const header = headers.get('authorization');
  if (header === null || /^[ \t]*$/.test(header)) throw new ApiError('unauthorized');
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) throw new ApiError('unauthorized', { message: 'Invalid token: it is no Bearer token' });
  return token;
}

/** What someone who is not an admin is told in the original service. */
export const ONLY_ADMINS_ACT = 'Only admin users can impersonate other users';

/**
 * Returns the user that a request records for: the caller, or the user that an admin names in `X-Act-As-User-Id`.
 *
 * @throws {ApiError} `forbidden` for viewers, who never record, and for others than admins who name another user;
 *   `validation_failed` for an ID that no user can have
 */
export function recordedUser(headers: Headers, sender: Principal): string {
  if (sender.role === 'viewer') throw new ApiError('forbidden');
  const header = headers.get('x-act-as-user-id');
  if (header === null || /^[ \t]*$/.test(header)) return sender.userId;
  if (sender.role !== 'admin') throw new ApiError('forbidden', { message: ONLY_ADMINS_ACT });
  const other = decodeHeader(header);
  if (other !== undefined && isUserId(other)) return other;
  const error = { loc: ['header', 'x-act-as-user-id'], ...USER_ID_ISSUE };
  throw new ApiError('validation_failed', { issues: [error] });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Returns the text that a header's bytes spell in UTF-8, without the white space around it; undefined where they
 * spell none: any other reading would name another user. Bun gives one character per byte.
 */
function decodeHeader(value: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(value, 'latin1')).replace(/^[ \t]+|[ \t]+$/g, '');
  } catch {
    return undefined;
  }
}
