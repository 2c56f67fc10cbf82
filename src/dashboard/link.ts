/**
 * Returns a link that opens the dashboard signed in. The code is in the fragment, which browsers never send to a
 * server. It works only once, because browsers keep URLs in their history.
 *
 * @param address the public URL of the server, such as `https://log.example.com`
 */
export function signInLink(address: string, code: string): string {
  return `${new URL('/', address)}#code=${code}`;
}
