/** Where the token is kept: the storage of this tab, which goes with it. */
const KEY = 'rawlog.token';

/** Who is signed in. What the token says is only shown: whether it holds, the server decides. */
export interface Session {
  readonly token: string;
  readonly userId: string;
  readonly isAdmin: boolean;
}

/**
 * Takes what a sign-in link carries from the address's fragment, and removes it from the address and from the tab's
 * history.
 *
 * @returns its code; an empty text where it has none, as links of older versions, which carried a token; undefined
 *   where the address is no sign-in link
 */
export function takeCodeFromAddress(): string | undefined {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (!fragment.has('code') && !fragment.has('token')) return undefined;
  history.replaceState(history.state, '', location.pathname + location.search);
  const code = fragment.get('code') ?? '';
  return isToken(code) ? code : '';
}

/** Whether a text has the form of a token: three parts in base64url. */
export function isToken(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

/** Keeps a token for as long as the tab is open. */
export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

/** Forgets the token. */
export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

/** The session of the kept token; undefined without one. */
export function currentSession(): Session | undefined {
  const token = sessionStorage.getItem(KEY);
  return token === null ? undefined : sessionOf(token);
}

/** What a token says of its user. */
function sessionOf(token: string): Session {
  return { token, userId: userIdOf(token), isAdmin: claimsOf(token).role === 'admin' };
}

/** The user that a token or a code names; an empty text if there is none. */
export function userIdOf(token: string): string {
  const { sub } = claimsOf(token);
  return typeof sub === 'string' ? sub : '';
}

function claimsOf(token: string): { sub?: unknown; role?: unknown } {
  try {
    const base64 = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}
