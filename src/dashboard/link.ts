/**
 * A link that opens the dashboard signed in. The token is in the fragment, which browsers send to no server, and
 * which the page removes from the address at once.
 *
 * @param address where the server is reached, such as `https://log.example.com`
 */
export function signInLink(address: string, token: string): string {
  return `${new URL('/', address)}#token=${token}`;
}
