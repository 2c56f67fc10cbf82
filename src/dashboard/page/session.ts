/** Where the token is kept: the storage of this tab, which goes with it. */
const KEY = 'rawlog.token';

/** Who is signed in. What the token says is only shown: whether it holds, the server decides. */
export interface Session {
  readonly token: string;
  readonly userId: string;
  readonly isAdmin: boolean;
}

/**
 * Takes a token from the address's fragment, where a link of `rawlog token --link` has it, and removes it
 * from the address and from the tab's history.
 *
 * @returns whether there was one
 */
export function takeTokenFromAddress(): boolean {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return false;
  history.replaceState(history.state, '', location.pathname + location.search);
  if (isToken(token)) keepToken(token);
  return true;
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
  const { sub, role } = claimsOf(token);
  return { token, userId: typeof sub === 'string' ? sub : '', isAdmin: role === 'admin' };
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
