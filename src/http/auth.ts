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
  const header = headers.get('authorization');
  if (header === null || header.trim() === '') throw new Failure('unauthorized');
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) throw new Failure('unauthorized', { message: 'Invalid token: it is no Bearer token' });
  return verify(token);
}

/**
 * Finds out for whom a request records: its sender, or the user that an admin names in
 * `X-Act-As-User-Id`. Each such use is logged.
 *
 * @throws {Failure} `forbidden` for anyone who is no admin, `validation_failed` for an id that none can have
 */
export function recordedUser(headers: Headers, sender: Principal, requestId: string, log: Logger): string {
  const header = headers.get('x-act-as-user-id');
  if (header === null) return sender.userId;
  const other = decodeHeader(header).trim();
  if (other === '') return sender.userId;
  if (!sender.isAdmin) throw new Failure('forbidden');
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
