import type { Logger } from 'pino';
import type { CachedVerifier } from '../auth/token-cache.ts';
import type { Principal } from '../auth/verifier.ts';
import { Failure } from '../errors.ts';
import { isUserId } from '../records.ts';
import { USER_ID_ISSUE } from './validation.ts';

const BEARER = /^bearer +(\S+) *$/i;

/**
 * Finds out who sent a request, from its headers alone. The answer is a promise only where the token
 * has not been seen before: an await costs a turn of the event loop.
 *
 * @throws {Failure} `unauthorized` or `keys_unavailable`
 */
export function authenticate(headers: Headers, verify: CachedVerifier): Principal | Promise<Principal> {
  return verify(bearerToken(headers));
}

/**
 * Returns the bearer token of a request.
 *
 * @throws {Failure} `unauthorized` if there is none
 */
export function bearerToken(headers: Headers): string {
  const header = headers.get('authorization');
  if (header === null || header.trim() === '') throw new Failure('unauthorized');
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) throw new Failure('unauthorized', { message: 'Invalid token: it is no Bearer token' });
  return token;
}

/**
 * Finds out for whom a request records: its sender, or the user that an admin names in
 * `X-Act-As-User-Id`. Each such use is logged.
 *
 * @throws {Failure} `forbidden` for viewers, who never record, and for others than admins who name another user;
 *   `validation_failed` for an ID that no user can have
 */
export function recordedUser(headers: Headers, sender: Principal, requestId: string, log: Logger): string {
  if (sender.role === 'viewer') throw new Failure('forbidden');
  const header = headers.get('x-act-as-user-id');
  if (header === null) return sender.userId;
  const other = decodeHeader(header).trim();
  if (other === '') return sender.userId;
  if (sender.role !== 'admin') {
    throw new Failure('forbidden', { message: 'Only admin users can impersonate other users' });
  }
  if (!isUserId(other)) {
    const fault = { loc: ['header', 'x-act-as-user-id'], ...USER_ID_ISSUE };
    throw new Failure('validation_failed', { faults: [fault] });
  }
  log.info({ request_id: requestId, admin: sender.userId, user: other }, 'an admin records for another user');
  return other;
}

/** A header's bytes arrive as one character each; what they spell is UTF-8 where it can be. */
function decodeHeader(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  const text = bytes.toString('utf8');
  return bytes.toString('latin1') === value && !text.includes('\ufffd') ? text : value;
}
