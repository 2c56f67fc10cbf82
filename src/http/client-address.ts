import { clientNetwork, type Networks, parseIpAddress } from '../formats/ip-address.ts';
import { listMembers } from './header-fields.ts';

/**
 * Returns the network that a request comes from, for limits: the address of the connection, or behind trusted proxies
 * the last one in `X-Forwarded-For` that is not a proxy. What stands before it, the client may have written itself.
 *
 * @param peer the address of the connection; empty when it is closed
 */
export function clientAddress(peer: string, headers: Headers, trusted: Networks | undefined): string {
  let client = parseIpAddress(peer) ?? peer;
  if (trusted && client !== '') {
    const hops = listMembers(headers.get('x-forwarded-for'));
    while (hops.length > 0 && trusted.contains(client)) {
      const hop = parseIpAddress(hops.pop() ?? '');
      if (hop === undefined) break; // no address: the proxy that sent it is the last one known
      client = hop;
    }
  }
  return clientNetwork(client);
}
