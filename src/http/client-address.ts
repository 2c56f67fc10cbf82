import { clientNetwork, type Networks, parseIpAddress } from '../formats/ip-address.ts';
import { listMembers } from './header-fields.ts';

/**
 * Returns the client's network, for rate limits. This is the address of the connection or, if that is a trusted proxy,
 * the last address in `X-Forwarded-For` that is not one. Earlier addresses may be forged by the client.
 *
 * @param peer the address of the connection; empty if it is closed
 */
export function clientAddress(peer: string, headers: Headers, trusted: Networks | undefined): string {
  let client = parseIpAddress(peer) ?? peer;
  if (trusted && client !== '') {
    const hops = listMembers(headers.get('x-forwarded-for'));
    while (hops.length > 0 && trusted.contains(client)) {
      const hop = parseIpAddress(hops.pop() ?? '');
      if (hop === undefined) break; // not an address: the proxy that sent it is the last known hop
      client = hop;
    }
  }
  return clientNetwork(client);
}
