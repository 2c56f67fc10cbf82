import { type Peer, type PeerTable, stampOf } from './peers.ts';

/*
 * Connections from a receiver to the main thread's server, which serves every request that is not passed in a message.
 */

/** The connection of a client whose requests are passed on. */
export interface Downstream {
  /** Handles bytes from the main thread. */
  receiveFromUpstream(bytes: Buffer): void;
  /** The main thread takes more bytes. */
  upstreamDrained(): void;
  /** The connection to the main thread is closed, or could not be opened. */
  upstreamClosed(upstream: Upstream): void;
  /** Closes the connection at once. */
  abort(): void;
}

/** Connections of a receiver to the main thread. */
export interface Upstreams {
  /** Opens a connection for a client's. */
  open(downstream: Downstream, peer: Peer): Upstream;
}

/** A connection to the main thread. */
export interface Upstream {
  /** Sends bytes. Returns whether the client should continue; otherwise {@link Downstream.upstreamDrained} follows. */
  send(bytes: Buffer): boolean;
  /** Sends nothing more. */
  finish(): void;
  pause(): void;
  resume(): void;
  end(): void;
  /** Starts the time after which it may be closed as idle. */
  markUsed(): void;
  /** Whether it is open, and not about to be closed as idle. */
  isUsable(): boolean;
}

/**
 * Creates the connections of a receiver to the main thread.
 *
 * @param receiver the number of the receiver
 * @param target returns the current port of the main thread's server, and how long a connection may be unused before it is not used again
 * @param onChange called with 1 when a connection is opened, and with -1 when it is closed
 * @param onError called after an error in a handler, whose connection is closed
 */
export function createUpstreams(
  receiver: number,
  peers: PeerTable,
  target: () => { readonly port: number; readonly usableMs: number },
  onChange: (change: 1 | -1) => void,
  onError: (error: unknown) => void,
): Upstreams {
  /** Connections opened so far. */
  let count = 0;

  class UpstreamConnection implements Upstream {
    readonly #downstream: Downstream;
    readonly #usableMs: number;
    readonly #stamp = stampOf(receiver, ++count);
    #socket: Bun.Socket<UpstreamConnection> | undefined;
    #localPort = 0;
    #unsent: Buffer | undefined;
    #isFinished = false;
    #isEnded = false;
    #isPaused = false;
    #usedAt = Number.NEGATIVE_INFINITY;

    constructor(downstream: Downstream, peer: Peer) {
      this.#downstream = downstream;
      const { port, usableMs } = target();
      this.#usableMs = usableMs;
      onChange(1);
      Bun.connect<UpstreamConnection>({
        hostname: '127.0.0.1',
        port,
        data: this,
        socket: {
          open: (socket) => {
            this.#socket = socket;
            this.#localPort = socket.localPort;
            peers.add(this.#localPort, this.#stamp, peer);
            if (this.#isEnded) socket.end();
            else this.#opened();
          },
          data: (_socket, bytes) => this.#guard(() => this.#downstream.receiveFromUpstream(bytes)),
          drain: () => this.#guard(() => this.#flush()),
          close: () => this.#closed(),
          error: () => {}, // it is then closed
          connectError: () => {}, // rejects, too
        },
      }).catch(() => this.#closed());
    }

    send(bytes: Buffer): boolean {
      if (this.#unsent || !this.#socket) {
        this.#unsent = this.#unsent ? Buffer.concat([this.#unsent, bytes]) : bytes;
        return false;
      }
      const written = Math.max(0, this.#socket.write(bytes));
      if (written === bytes.length) return true;
      this.#unsent = bytes.subarray(written);
      return false;
    }

    finish(): void {
      if (this.#isFinished) return;
      this.#isFinished = true;
      if (!this.#unsent) this.#socket?.shutdown();
    }

    pause(): void {
      this.#isPaused = true;
      this.#socket?.pause();
    }

    resume(): void {
      if (!this.#isPaused) return;
      this.#isPaused = false;
      this.#socket?.resume();
    }

    end(): void {
      if (this.#isEnded) return;
      this.#isEnded = true;
      this.#unsent = undefined;
      this.#socket?.end();
    }

    markUsed(): void {
      this.#usedAt = performance.now();
    }

    isUsable(): boolean {
      return !this.#isEnded && !this.#isFinished && performance.now() - this.#usedAt < this.#usableMs;
    }

    /** Runs a handler. An error in it must not end the other connections. */
    #guard(handle: () => void): void {
      try {
        handle();
      } catch (error) {
        this.#downstream.abort();
        onError(error);
      }
    }

    #opened(): void {
      if (this.#isPaused) this.#socket?.pause();
      if (this.#unsent) this.#flush();
      else if (this.#isFinished) this.#socket?.shutdown();
    }

    #flush(): void {
      const unsent = this.#unsent;
      if (!unsent || !this.#socket) return;
      const written = Math.max(0, this.#socket.write(unsent));
      if (written < unsent.length) {
        this.#unsent = unsent.subarray(written);
        return;
      }
      this.#unsent = undefined;
      if (this.#isFinished) this.#socket.shutdown();
      this.#downstream.upstreamDrained();
    }

    #closed(): void {
      if (this.#localPort < 0) return;
      if (this.#localPort > 0) peers.remove(this.#localPort, this.#stamp);
      this.#localPort = -1;
      this.#isEnded = true;
      onChange(-1);
      this.#downstream.upstreamClosed(this);
    }
  }

  return { open: (downstream, peer) => new UpstreamConnection(downstream, peer) };
}
