/** Returns the user ID (`sub`) in a token; undefined if there is none. The server verifies the token, not the client. */
export function userOf(token: string): string | undefined {
  try {
    const [, claims = ''] = token.split('.');
    return (JSON.parse(atob(claims.replace(/-/g, '+').replace(/_/g, '/'))) as { sub?: string }).sub;
  } catch {
    return undefined;
  }
}
