/** The sessionStorage key of the token. The browser deletes it when the tab is closed. */
const KEY = 'rawlog.token';

/** The sessionStorage key of the demo's token. While there is one, the page shows the demo instead of the real data. */
const DEMO_KEY = 'rawlog.demo';

/** The signed-in user. The claims are only for display; the server verifies the token. */
export interface Session {
  readonly token: string;
  readonly userId: string;
  readonly isAdmin: boolean;
  /** Whether this is the session of the demo, whose data is invented. */
  readonly isDemo: boolean;
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

/** Stores a token until the tab is closed. Ends the demo. */
export function storeToken(token: string): void {
  sessionStorage.removeItem(DEMO_KEY);
  sessionStorage.setItem(KEY, token);
}

/** Deletes the stored token: that of the demo if the page shows the demo, otherwise the user's own. */
export function clearToken(): void {
  sessionStorage.removeItem(demoToken() === undefined ? KEY : DEMO_KEY);
}

/** Returns the session of the stored token, or undefined if there is none. The demo's token comes first. */
export function currentSession(): Session | undefined {
  const token = sessionStorage.getItem(DEMO_KEY) ?? sessionStorage.getItem(KEY);
  if (token === null) return undefined;
  return {
    token,
    userId: userIdOf(token),
    isAdmin: claimsOf(token).role === 'admin',
    isDemo: demoToken() !== undefined,
  };
}

/** Returns the token of the demo, if the page shows it. */
export function demoToken(): string | undefined {
  return sessionStorage.getItem(DEMO_KEY) ?? undefined;
}

/** Shows the demo until {@link leaveDemo}, or until the tab is closed. */
export function enterDemo(token: string): void {
  sessionStorage.setItem(DEMO_KEY, token);
}

/** Shows the real data again. Returns the user's own token. */
export function leaveDemo(): string {
  sessionStorage.removeItem(DEMO_KEY);
  return sessionStorage.getItem(KEY) ?? '';
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
