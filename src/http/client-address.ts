import { clientNetwork, type Networks, parseIpAddress } from '../formats/ip-address.ts';
import type { PeerTable } from '../receiving/peers.ts';
import { type HeaderFields, listMembers } from './header-fields.ts';

/** A connection of a client. */
export interface ClientConnection {
  /** The client's address and port. */
  readonly client: { readonly address: string; readonly port: number };
  /** The port that it is connected to. */
  readonly serverPort: number;
}

/** The part of Bun's server that knows its connections. */
export type ConnectedServer = Pick<Bun.Server<unknown>, 'requestIP' | 'port'>;

/** The connections that receivers have accepted for this server. */
export interface ReceivedConnections {
  readonly peers: Pick<PeerTable, 'find'>;
  /** Returns the port that receivers listen on. */
  readonly port: () => number;
}

/** Returns the connection of a request; undefined if it is closed. */
export type FindConnection = (request: Request, server: ConnectedServer | null) => ClientConnection | undefined;

/**
 * Creates the function that returns the connection of a request.
 *
 * @param received undefined if all connections are the server's own. Otherwise, a connection that no receiver has opened
 *   is unknown, so that its client cannot pass for a trusted proxy
 */
export function connectionFinder(received: ReceivedConnections | undefined): FindConnection {
  return (request, server) => {
    const own = server?.requestIP(request);
    if (!own || server?.port === undefined) return undefined;
    if (!received) return { client: own, serverPort: server.port };
    const client = received.peers.find(own.port);
    return client && { client, serverPort: received.port() };
  };
}

/**
 * Returns the client's network, for rate limits. This is the address of the connection or, if that is a trusted proxy,
 * the last address in `X-Forwarded-For` that is not one. Earlier addresses may be forged by the client.
 *
 * @param peer the address of the connection; empty if it is closed
 */
export function clientAddress(peer: string, headers: HeaderFields, trusted: Networks | undefined): string {
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
