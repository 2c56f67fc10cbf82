import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Prefix length of IPv4-mapped IPv6 addresses: ::ffff:0:0/96. */
const MAPPED_PREFIX = 96;

/**
 * Parses an IP address as proxies write it: with or without a port, brackets or a zone. Converts IPv4-mapped IPv6
 * addresses to IPv4.
 *
 * @returns undefined if the text is not an IP address
 */
export function parseIpAddress(text: string): string | undefined {
  const trimmed = text.trim();
  const host = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(trimmed)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(trimmed)?.[1] ?? trimmed;
  const address = host.replace(/%.*$/, '');
  // ipaddr.js also accepts forms such as 127.1
  return isIP(address) === 0 ? undefined : ipaddr.process(address).toNormalizedString();
}

/** Returns the network usually assigned to a single client: the IPv4 address, or the /64 of an IPv6 address. */
export function clientNetwork(address: string): string {
  const parsed = parseIpAddress(address);
  if (parsed === undefined || isIPv4(parsed)) return parsed ?? address;
  return `${parsed.split(':').slice(0, 4).join(':')}::/64`;
}

/** A set of IP networks. */
export interface Networks {
  /** Returns whether an address, as returned by {@link parseIpAddress}, is in one of the networks. */
  contains(address: string): boolean;
}

/**
 * Parses a comma-separated list of addresses and networks such as `10.0.0.0/8, 2001:db8::/32, 127.0.0.1`.
 *
 * @throws {Error} if an entry is invalid, or a network contains every address
 */
export function parseNetworks(text: string): Networks {
  const list = new BlockList();
  for (const entry of text.split(',')) {
    const [host = '', prefixLength, ...extra] = entry.trim().split('/');
    const address = isIP(host) === 0 ? undefined : parseIpAddress(host);
    if (address === undefined || host.includes('%') || extra.length > 0) {
      throw new Error('should be a comma-separated list of IP addresses and networks, such as 10.0.0.0/8');
    }
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    const bits = family === 'ipv4' ? 32 : 128;
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8
    const offset = family === 'ipv4' && isIPv6(host) ? MAPPED_PREFIX : 0;
    const prefix =
      prefixLength === undefined ? bits : /^\d{1,3}$/.test(prefixLength) ? Number(prefixLength) - offset : Number.NaN;
    if (!(prefix >= 0 && prefix <= bits))
      throw new Error(`should use prefix lengths of at most ${bits} bits for ${family === 'ipv4' ? 'IPv4' : 'IPv6'}`);
    if (prefix === 0) throw new Error('contains a network that covers every address');
    list.addSubnet(address, prefix, family);
  }
  return { contains: (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6') };
}
