/**
 * Returns a link that opens the dashboard signed in. The code is in the fragment, which browsers send to no server,
 * and works once: browsers keep addresses in their history.
 *
 * @param address where the server is reached, such as `https://log.example.com`
 */
export function signInLink(address: string, code: string): string {
  return `${new URL('/', address)}#code=${code}`;
}
