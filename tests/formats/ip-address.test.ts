import { expect, test } from 'bun:test';
import { clientNetwork, parseIpAddress, parseNetworks } from '../../src/formats/ip-address.ts';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  [' 192.0.2.1 ', '192.0.2.1'],
  ['192.0.2.1:443', '192.0.2.1'],
  ['2001:DB8::1', '2001:db8:0:0:0:0:0:1'],
  ['[2001:db8::1]', '2001:db8:0:0:0:0:0:1'],
  ['[2001:db8::1]:443', '2001:db8:0:0:0:0:0:1'],
  ['fe80::1%eth0', 'fe80:0:0:0:0:0:0:1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['[::ffff:192.0.2.1]:80', '192.0.2.1'],
  ['::', '0:0:0:0:0:0:0:0'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0:0:0:c000:201'],
  ['192.0.2', undefined],
  ['192.0.2.256', undefined],
  ['unknown', undefined],
  ['_hidden', undefined],
  ['', undefined],
  ['192.0.2.1:', undefined],
  ['[192.0.2.1', undefined],
])('parses %p as %p', (text, address) => {
  expect(parseIpAddress(text)).toBe(address as string);
});

test('identifies a client by its IPv4 address or IPv6 /64', () => {
  expect(clientNetwork('192.0.2.1')).toBe('192.0.2.1');
  expect(clientNetwork('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(clientNetwork('2001:db8:1:2:3::4')).toBe('2001:db8:1:2::/64');
  expect(clientNetwork('2001:db8:1:2:ffff::')).toBe('2001:db8:1:2::/64');
  expect(clientNetwork('2001:db8:1:3::')).not.toBe('2001:db8:1:2::/64');
});

test('matches IPv4 and IPv6 networks, including IPv4-mapped IPv6 addresses', () => {
  const contains = (list: string, address: string) => parseNetworks(list).contains(parseIpAddress(address) ?? '');
  expect(contains('10.0.0.0/8', '10.255.0.1')).toBe(true);
  expect(contains('10.0.0.0/8', '11.0.0.1')).toBe(false);
  expect(contains('10.0.0.0/8', '::ffff:10.0.0.1')).toBe(true);
  expect(contains('::ffff:10.0.0.0/104', '10.1.1.1')).toBe(true);
  expect(contains(' 192.0.2.1 , 2001:db8::/32', '2001:db8:ffff::1')).toBe(true);
  expect(contains('192.0.2.1,2001:db8::/32', '192.0.2.2')).toBe(false);
  expect(contains('::1', '::1')).toBe(true);
});

test.each(['', ',', '10.0.0.0/8,', '10.0.0.0/33', '::1/129', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0.0/', '10.0.0.0/x'])(
  'rejects the list %p',
  (list) => {
    expect(() => parseNetworks(list)).toThrow();
  },
);
test.each(['localhost', '10.0.0', '0.0.0.0/0', '::/0', '::ffff:0:0/96', '[::1]', '10.0.0.1:80', 'fe80::1%eth0', '*'])(
  'rejects the entry %p',
  (entry) => {
    expect(() => parseNetworks(`127.0.0.1,${entry}`)).toThrow();
  },
);
