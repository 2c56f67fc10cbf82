import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** The prefix of IPv4 addresses written as IPv6: ::ffff:0:0/96. */
const MAPPED_PREFIX = 96;

/**
 * Parses an IP address as proxies write it: with or without a port, brackets or a zone. An IPv4 address in IPv6 form
 * becomes IPv4.
 *
 * @returns undefined if the text is not an address
 */
export function parseIpAddress(text: string): string | undefined {
  const trimmed = text.trim();
  const host = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(trimmed)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(trimmed)?.[1] ?? trimmed;
  const address = host.replace(/%.*$/, '');
  // ipaddr.js also takes forms such as 127.1
  return isIP(address) === 0 ? undefined : ipaddr.process(address).toNormalizedString();
}

/** Returns the network that one client usually has for itself: an IPv4 address, or the /64 of an IPv6 address. */
export function clientNetwork(address: string): string {
  const parsed = parseIpAddress(address);
  if (parsed === undefined || isIPv4(parsed)) return parsed ?? address;
  return `${parsed.split(':').slice(0, 4).join(':')}::/64`;
}

/** A set of networks. */
export interface Networks {
  /** Returns whether an address, as {@link parseIpAddress} returns it, is in one of them. */
  contains(address: string): boolean;
}

/**
 * Parses a comma-separated list of addresses and networks such as `10.0.0.0/8, 2001:db8::/32, 127.0.0.1`.
 *
 * @throws {Error} for an invalid entry, and for a network that contains every address
 */
export function parseNetworks(text: string): Networks {
  const list = new BlockList();
  for (const entry of text.split(',')) {
    const [written = '', length, ...rest] = entry.trim().split('/');
    const address = isIP(written) === 0 ? undefined : parseIpAddress(written);
    if (address === undefined || written.includes('%') || rest.length > 0) {
      throw new Error('should be a list of IP addresses and networks such as 10.0.0.0/8, separated by commas');
    }
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    const bits = family === 'ipv4' ? 32 : 128;
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8
    const offset = family === 'ipv4' && isIPv6(written) ? MAPPED_PREFIX : 0;
    const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) - offset : Number.NaN;
    if (!(prefix >= 0 && prefix <= bits)) throw new Error(`should have prefixes of 0 to ${bits} bits for ${family}`);
    if (prefix === 0) throw new Error('names a network that contains every address');
    list.addSubnet(address, prefix, family);
  }
  return { contains: (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6') };
}
