/*
 * The clients behind the connections from receivers to the main thread. Receivers pass on what a client sends byte for
 * byte, so the main thread cannot see the client's address. Instead, a receiver writes it to memory that all threads
 * share, at the local port of its connection, before it sends anything. So no header field has to be trusted, and a
 * process that connects to the main thread itself has no entry.
 */

/** The client of a connection. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** The clients, by the local port of the receiver's connection. */
export interface PeerTable {
  readonly memory: SharedArrayBuffer;
  /**
   * Adds the client of a connection.
   *
   * @param stamp see {@link stampOf}
   */
  add(localPort: number, stamp: number, peer: Peer): void;
  /** Removes the client of a connection, unless another connection already has its port. */
  remove(localPort: number, stamp: number): void;
  /** Removes the clients of all connections of a receiver that has exited. */
  clear(receiver: number): void;
  /** Returns the client of a connection; undefined if no receiver has opened it. */
  find(localPort: number): Peer | undefined;
}

/** Bits of a stamp that count the connections of a receiver. */
const COUNT_BITS = 20;
const RECEIVER_BITS = 10;

/**
 * Returns a number that is different for all connections that are open at the same time, and never 0.
 *
 * @param receiver the number of the receiver
 * @param count the number of its connections so far
 */
export function stampOf(receiver: number, count: number): number {
  return (((receiver % 2 ** RECEIVER_BITS) << COUNT_BITS) | (count % 2 ** COUNT_BITS)) + 1;
}

const PORTS = 65_536;
/** An entry: the stamp, 0 while it is empty; the client's port; the length of its address; the address as text. */
const PORT_AT = 4;
const LENGTH_AT = 6;
const ADDRESS_AT = 8;
const ENTRY_BYTES = 72;
const MAX_ADDRESS_LENGTH = ENTRY_BYTES - ADDRESS_AT;

/** Creates a table, or opens the one of another thread. The system provides only the memory that is used. */
export function openPeerTable(memory = new SharedArrayBuffer(PORTS * ENTRY_BYTES)): PeerTable {
  const stamps = new Int32Array(memory);
  const bytes = Buffer.from(memory);
  const stampIndex = (localPort: number) => (localPort * ENTRY_BYTES) / stamps.BYTES_PER_ELEMENT;
  return {
    memory,
    add(localPort, stamp, { address, port }) {
      const at = localPort * ENTRY_BYTES;
      const length = Math.min(address.length, MAX_ADDRESS_LENGTH); // a longer one has a zone, which has no effect
      bytes.writeUInt16LE(port, at + PORT_AT);
      bytes.writeUInt16LE(length, at + LENGTH_AT);
      bytes.write(address, at + ADDRESS_AT, length, 'latin1');
      Atomics.store(stamps, stampIndex(localPort), stamp);
    },
    remove(localPort, stamp) {
      Atomics.compareExchange(stamps, stampIndex(localPort), stamp, 0);
    },
    clear(receiver) {
      const first = stampOf(receiver, 0);
      for (let port = 0; port < PORTS; port++) {
        const stamp = Atomics.load(stamps, stampIndex(port));
        if (stamp >= first && stamp < first + 2 ** COUNT_BITS)
          Atomics.compareExchange(stamps, stampIndex(port), stamp, 0);
      }
    },
    find(localPort) {
      const at = localPort * ENTRY_BYTES;
      const stamp = Atomics.load(stamps, stampIndex(localPort));
      if (stamp === 0) return undefined;
      const port = bytes.readUInt16LE(at + PORT_AT);
      const length = bytes.readUInt16LE(at + LENGTH_AT);
      const address = bytes.toString('latin1', at + ADDRESS_AT, at + ADDRESS_AT + length);
      return Atomics.load(stamps, stampIndex(localPort)) === stamp ? { address, port } : undefined;
    },
  };
}
