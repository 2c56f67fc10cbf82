/** The sessionStorage key of the token. The browser deletes it when the tab is closed. */
const KEY = 'rawlog.token';

/** The signed-in user. The claims are only for display; the server verifies the token. */
export interface Session {
  readonly token: string;
  readonly userId: string;
  readonly isAdmin: boolean;
}

/**
 * Reads the code of a sign-in link from the URL fragment, and removes the fragment from the URL and the history.
 *
 * @returns the code; an empty string if the link has no valid code, such as links of older versions, which contained a
 *   token; undefined if the URL is not a sign-in link
 */
export function takeCodeFromAddress(): string | undefined {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (!fragment.has('code') && !fragment.has('token')) return undefined;
  history.replaceState(history.state, '', location.pathname + location.search);
  const code = fragment.get('code') ?? '';
  return isToken(code) ? code : '';
}

/** Returns whether a text has the form of a token: three parts in base64url. */
export function isToken(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

/** Stores a token until the tab is closed. */
export function storeToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

/** Deletes the stored token. */
export function clearToken(): void {
  sessionStorage.removeItem(KEY);
}

/** Returns the session of the stored token, or undefined if there is none. */
export function currentSession(): Session | undefined {
  const token = sessionStorage.getItem(KEY);
  return token === null ? undefined : sessionOf(token);
}

/** Decodes the session of a token. */
function sessionOf(token: string): Session {
  return { token, userId: userIdOf(token), isAdmin: claimsOf(token).role === 'admin' };
}

/** Returns the user ID in a token or a code, or an empty string if there is none. */
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
