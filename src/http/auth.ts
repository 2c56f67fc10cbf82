import type { CachedVerifier } from '../auth/token-cache.ts';
import type { Principal } from '../auth/verifier.ts';
import { ApiError } from '../errors.ts';
import { isUserId } from '../records.ts';
import type { HeaderFields } from './header-fields.ts';
import { USER_ID_ISSUE } from './validation.ts';

const BEARER = /^bearer +(\S+) *$/i;

/**
 * Returns the authenticated caller, using only the request headers. Returns a promise only if the token is not cached,
 * because an await takes a turn of the event loop.
 *
 * @throws {ApiError} `unauthorized` or `keys_unavailable`
 */
export function authenticate(headers: HeaderFields, verify: CachedVerifier): Principal | Promise<Principal> {
  const header = headers.get('authorization');
  // the usual spelling, which is not parsed again for a token that is known to be valid
  const cached = header?.startsWith('Bearer ') ? verify.find(header.slice('Bearer '.length)) : undefined;
  return cached ?? verify(bearerToken(headers));
}

/**
 * Returns the bearer token of a request.
 *
 * @throws {ApiError} `unauthorized` if it is missing or malformed
 */
export function bearerToken(headers: HeaderFields): string {
  const header = headers.get('authorization');
  if (header === null || /^[ \t]*$/.test(header)) throw new ApiError('unauthorized', { tokenRejection: 'missing' });
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) {
    throw new ApiError('unauthorized', {
      message: 'Invalid token: not a Bearer token',
      tokenRejection: 'malformed',
    });
  }
  return token;
}

/**
 * Returns the authenticated caller of a route for admins.
 *
 * @throws {ApiError} `forbidden` for other roles; otherwise as {@link authenticate}
 */
export async function authenticateAdmin(headers: HeaderFields, verify: CachedVerifier): Promise<Principal> {
  const principal = await authenticate(headers, verify);
  if (principal.role !== 'admin') throw new ApiError('forbidden');
  return principal;
}

/** Error message for callers who are not admins, as in the original service. */
export const ONLY_ADMINS_ACT = 'Only admin users can impersonate other users';

/**
 * Returns the user that a request records for: the caller, or the user that an admin names in `X-Act-As-User-Id`.
 *
 * @throws {ApiError} `forbidden` for viewers, who never record, and for non-admins who name another user;
 *   `validation_failed` for an invalid user ID
 */
export function recordedUser(headers: HeaderFields, caller: Principal): string {
  const header = headers.get('x-act-as-user-id');
  const isActing = header !== null && !/^[ \t]*$/.test(header);
  if (isActing && caller.role !== 'admin') throw new ApiError('forbidden', { message: ONLY_ADMINS_ACT });
  if (caller.role === 'viewer') throw new ApiError('forbidden');
  if (!isActing) return caller.userId;
  const userId = decodeHeader(header);
  if (userId !== undefined && isUserId(userId)) return userId;
  const issue = { loc: ['header', 'x-act-as-user-id'], ...USER_ID_ISSUE };
  throw new ApiError('validation_failed', { issues: [issue] });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes a header value as UTF-8 and trims it. Returns undefined if the bytes are not valid UTF-8, because lenient
 * decoding could yield the ID of another user. Bun passes header values with one character per byte.
 */
function decodeHeader(value: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(value, 'latin1')).replace(/^[ \t]+|[ \t]+$/g, '');
  } catch {
    return undefined;
  }
}
