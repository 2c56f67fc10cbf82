import { readFile } from 'node:fs/promises';
import ipaddr from 'ipaddr.js';

/** Linux's tables of TCP connections, over IPv4 and over IPv6 (proc(5)). */
const TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6'] as const;

/** The read of the tables that is in progress, which all callers of that moment share. */
let reading: Promise<readonly [string, string]> | undefined;

function readTables(): Promise<readonly [string, string]> {
  reading ??= Promise.all([read(TABLES[0]), read(TABLES[1])]).finally(() => {
    reading = undefined;
  });
  return reading;
}

/** Returns a table; an empty text where there is none. */
const read = (path: string) => readFile(path, 'latin1').catch(() => '');

/**
 * Returns the number of bytes that the kernel has taken from this process for a connection and the client has not
 * acknowledged. While nothing is written, it falls whenever bytes move. Bun reports progress only once a third of the
 * socket's buffer is free, which is more than a megabyte.
 *
 * @param client the address and port of the client
 * @returns undefined if it cannot be determined: the connection is closed, or the system is not Linux
 */
export async function unsentBytes(
  client: { readonly address: string; readonly port: number },
  serverPort: number,
): Promise<number | undefined> {
  const [table4, table6] = await readTables();
  const bytes = ipaddr.process(client.address).toByteArray();
  const isV4 = bytes.length === 4;
  return (
    (isV4 ? find(table4, bytes, client.port, serverPort) : undefined) ??
    find(table6, isV4 ? [...MAPPED, ...bytes] : bytes, client.port, serverPort)
  );
}

/** The first bytes of an IPv4-mapped IPv6 address. */
const MAPPED = [...Array<number>(10).fill(0), 0xff, 0xff];

function find(table: string, address: readonly number[], port: number, serverPort: number): number | undefined {
  const entry = `:${hexOf(serverPort)} ${addressOf(address)}:${hexOf(port)} `;
  const at = table.indexOf(entry);
  if (at < 0) return undefined;
  // the state in two digits, then the queues: "01 0000A000:00000000"
  const queue = /^[\dA-F]{2} ([\dA-F]{8}):/.exec(table.slice(at + entry.length, at + entry.length + 12))?.[1];
  return queue === undefined ? undefined : Number.parseInt(queue, 16);
}

const hexOf = (port: number) => port.toString(16).toUpperCase().padStart(4, '0');

/** Returns an address as in the tables: in words of four bytes, each of them reversed on a little-endian machine. */
function addressOf(bytes: readonly number[]): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 4) {
    text += Buffer.from(bytes.slice(i, i + 4))
      .reverse()
      .toString('hex');
  }
  return text.toUpperCase();
}
