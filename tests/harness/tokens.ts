import { SignJWT } from 'jose';

import { SECRET } from './target.ts';

/** Seconds since 1970, from now. */
export function secondsFromNow(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

/** The claims of a token that a server with default settings accepts. */
export function goodClaims(claims: Record<string, unknown> = {}): Record<string, unknown> {
  return { sub: 'user-1', aud: 'authenticated', role: 'authenticated', exp: secondsFromNow(600), ...claims };
}

/** A token signed with the tests' secret; a claim given as undefined is left out. */
export function token(claims: Record<string, unknown> = {}, secret = SECRET): Promise<string> {
  const key = new TextEncoder().encode(secret);
  return new SignJWT(goodClaims(claims)).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(key);
}

/** A text or value in base64url, as the parts of a token are. */
export function base64url(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}
