import { SignJWT } from 'jose';

import { SECRET } from './target.ts';

/** Returns the Unix time this many seconds from now. */
export function secondsFromNow(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

/** Returns claims that a server with default settings accepts. */
export function goodClaims(claims: Record<string, unknown> = {}): Record<string, unknown> {
  return { sub: 'user-1', aud: 'authenticated', role: 'authenticated', exp: secondsFromNow(600), ...claims };
}

/** Signs a token with the tests' secret. Claims set to undefined are omitted. */
export function token(claims: Record<string, unknown> = {}, secret = SECRET): Promise<string> {
  const key = new TextEncoder().encode(secret);
  return new SignJWT(goodClaims(claims)).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(key);
}

/** Encodes a text, or a value as JSON, in base64url, like the parts of a token. */
export function base64url(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}
