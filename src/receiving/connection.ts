import { MAX_PASSED_BODY_BYTES } from './protocol.ts';
import { type OtherRequest, type Recognized, type RecognizedRequest, responseFraming } from './request-head.ts';
import type { Downstream, Upstream, Upstreams } from './upstream.ts';

/** Received bytes of later requests above which a connection is not read until the current one has its response. */
const MAX_PIPELINED_BYTES = MAX_PASSED_BODY_BYTES;

/** What a connection needs from its receiver. */
export interface ConnectionParts {
  readonly recognize: (buffer: Buffer) => Recognized;
  readonly upstreams: Upstreams;
  /**
   * Passes a recording request to the main thread. The response arrives at {@link Connection.respond}.
   *
   * @returns whether there was room
   */
  submit(connection: Connection, request: RecognizedRequest, buffer: Buffer): boolean;
  /** Whether the receiver has room to wait for the rest of a request. */
  hold(connection: Connection): boolean;
  /** Ends {@link hold}. */
  release(connection: Connection): void;
  /** Counts what a stopping server should wait for: passed requests without a response, and responses that are not sent. */
  countInFlight(change: 1 | -1): void;
  /** The timeout for an idle connection, in seconds; 0: none. */
  readonly idleTimeoutSeconds: () => number;
}

/** A connection of a client. */
export type ClientSocket = Bun.Socket<Connection>;

/**
 * A connection of a client to a receiver. Each request is either a recording request, which the receiver reads and passes
 * to the main thread in a message, or is passed on byte for byte over a connection to the main thread's server, which then
 * does everything that HTTP requires. That connection then also decides when the client's is closed.
 */
export class Connection implements Downstream {
  readonly number: number;
  readonly generation: number;
  /** The client's address. */
  readonly address: string;
  readonly #socket: ClientSocket;
  readonly #parts: ConnectionParts;
  /**
   * `reading`: no request is in progress, or one is incomplete; `waiting`: the main thread has a recording request;
   * `passing`: a request is passed on.
   */
  #state: 'reading' | 'waiting' | 'passing' | 'closed' = 'reading';
  /** What was received and not yet passed on. */
  #received: Buffer | undefined;
  /** What the socket did not take yet. */
  #unsent: Buffer | undefined;
  #isClosing = false;
  #upstream: Upstream | undefined;
  /** The bytes of the current request that are still to be passed on; infinite if its end is not certain. */
  #requestLeft = 0;
  /** The bytes of its response that are missing; infinite if its end is not certain, undefined before its head. */
  #responseLeft: number | undefined;
  #responseHead: Buffer | undefined;
  #isHead = false;
  /** Whether the current request was passed on, and no byte of its response has arrived. */
  #isUnreplied = false;

  constructor(number: number, generation: number, socket: ClientSocket, parts: ConnectionParts) {
    this.number = number;
    this.generation = generation;
    this.address = socket.remoteAddress;
    this.#socket = socket;
    this.#parts = parts;
    this.#armTimeout();
  }

  /** Size of an incomplete request. */
  get heldBytes(): number {
    return this.#received?.length ?? 0;
  }

  /** Handles bytes from the client. */
  receive(bytes: Buffer): void {
    if (this.#state === 'passing') this.#passOn(bytes);
    else {
      this.#received = this.#received ? Buffer.concat([this.#received, bytes]) : bytes;
      // a client that does not read its responses gets no further ones
      if (this.#state === 'reading' && !this.#unsent) this.#read();
      else if (this.#received.length > MAX_PIPELINED_BYTES) this.#socket.pause();
    }
  }

  /** Sends the response to a recording request. */
  respond(text: string, isLast: boolean): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'reading';
    if (isLast) this.#isClosing = true;
    if (!this.#send(text)) this.#armTimeout();
    this.#next();
  }

  /** Passes an incomplete request on, because its rest does not arrive. */
  giveUp(): void {
    if (this.#state === 'reading' && this.#received) this.#pass({ kind: 'other', end: undefined, isHead: false });
  }

  /** Closes the connection if it is idle, or else after the current request. */
  stop(): void {
    this.#isClosing = true;
    if (this.#state !== 'reading' || this.#unsent) return;
    if (this.#received) this.giveUp();
    else this.#end();
  }

  /** Closes the connection. One whose request is passed on is closed when the main thread closes that connection. */
  close(): void {
    this.#isClosing = true;
    if (this.#state !== 'passing') this.#end();
  }

  /** Closes the connection at once. */
  abort(): void {
    this.#socket.terminate();
  }

  /** The client's socket takes more bytes. */
  drained(): void {
    const unsent = this.#unsent;
    if (!unsent) return;
    const written = Math.max(0, this.#socket.write(unsent));
    if (written < unsent.length) {
      this.#unsent = unsent.subarray(written);
      if (this.#state !== 'passing') this.#armTimeout();
      return;
    }
    this.#unsent = undefined;
    this.#parts.countInFlight(-1);
    if (this.#state === 'passing') this.#upstream?.resume();
    else this.#next();
  }

  /** No bytes have moved for the timeout. */
  timedOut(): void {
    // a request that waits for its commit is not idle
    if (this.#state === 'waiting') this.#armTimeout();
    else if (this.#unsent) this.abort();
    else this.#end();
  }

  /** The client's connection is closed. */
  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#parts.release(this);
    this.#setUnreplied(false);
    if (this.#unsent) this.#parts.countInFlight(-1);
    this.#unsent = undefined;
    this.#received = undefined;
    this.#upstream?.end();
    this.#upstream = undefined;
  }

  receiveFromUpstream(bytes: Buffer): void {
    if (this.#state !== 'passing') {
      this.abort(); // it is not known what these bytes respond to
      return;
    }
    this.#followResponse(bytes);
    if (!this.#send(bytes)) this.#upstream?.pause();
    this.#setUnreplied(false);
    this.#finishExchange();
  }

  upstreamDrained(): void {
    if (this.#state === 'passing') this.#socket.resume();
  }

  upstreamClosed(upstream: Upstream): void {
    if (upstream !== this.#upstream) return;
    this.#upstream = undefined;
    if (this.#state !== 'passing') return;
    this.#setUnreplied(false);
    this.#isClosing = true;
    this.#state = 'reading';
    this.#received = undefined;
    if (this.#unsent) this.#armTimeout();
    this.#next();
  }

  /** Handles what was received, if no request is in progress. */
  #read(): void {
    const buffer = this.#received;
    if (!buffer || buffer.length === 0) return;
    const recognized = this.#parts.recognize(buffer);
    if (recognized.kind === 'incomplete') {
      if (!this.#parts.hold(this)) this.giveUp();
      return;
    }
    if (recognized.kind === 'other') {
      this.#pass(recognized);
      return;
    }
    if (!this.#parts.submit(this, recognized, buffer)) {
      this.#pass({ kind: 'other', end: recognized.end, isHead: false });
      return;
    }
    this.#state = 'waiting';
    this.#parts.release(this);
    this.#received = buffer.length > recognized.end ? buffer.subarray(recognized.end) : undefined;
  }

  /** Continues after a request: closes the connection, or handles the next request that has arrived. */
  #next(): void {
    if (this.#state !== 'reading' || this.#unsent) return;
    if (this.#isClosing) {
      this.#end();
      return;
    }
    this.#armTimeout();
    this.#socket.resume();
    if (this.#received) this.#read();
  }

  /** Passes the first request in the buffer on, and the connection with it unless the end of the request is certain. */
  #pass({ end, isHead }: OtherRequest): void {
    const buffer = this.#received ?? Buffer.alloc(0);
    this.#received = undefined;
    this.#state = 'passing';
    this.#setUnreplied(true);
    this.#parts.release(this); // after it, so that the request is always counted
    this.#isHead = isHead;
    this.#requestLeft = end ?? Number.POSITIVE_INFINITY;
    this.#responseLeft = undefined;
    this.#responseHead = undefined;
    this.#socket.timeout(0);
    if (!this.#upstream?.isUsable()) {
      this.#upstream?.end();
      this.#upstream = this.#parts.upstreams.open(this, { address: this.address, port: this.#socket.remotePort });
    }
    this.#passOn(buffer);
  }

  /** Passes bytes of the client on, up to the end of the request. */
  #passOn(bytes: Buffer): void {
    const part = bytes.length > this.#requestLeft ? bytes.subarray(0, this.#requestLeft) : bytes;
    this.#requestLeft -= part.length;
    if (part.length < bytes.length) {
      const rest = bytes.subarray(part.length);
      this.#received = this.#received ? Buffer.concat([this.#received, rest]) : rest;
      if (this.#received.length > MAX_PIPELINED_BYTES) this.#socket.pause();
    }
    if (part.length > 0 && this.#upstream && !this.#upstream.send(part)) this.#socket.pause();
    this.#finishExchange();
  }

  /** Counts the bytes of a response. */
  #followResponse(bytes: Buffer): void {
    if (this.#responseLeft !== undefined) {
      this.#responseLeft -= bytes.length;
      if (this.#responseLeft < 0) this.#stay();
      return;
    }
    const head = this.#responseHead ? Buffer.concat([this.#responseHead, bytes]) : bytes;
    const framing = responseFraming(head, this.#isHead);
    if (!framing) {
      this.#responseHead = head;
      return;
    }
    this.#responseHead = undefined;
    const { headBytes, bodyBytes = Number.POSITIVE_INFINITY } = framing;
    this.#responseLeft = headBytes + bodyBytes - head.length;
    if (this.#responseLeft < 0 || bodyBytes === Number.POSITIVE_INFINITY) this.#stay();
  }

  /** Leaves the connection to the main thread, because it is not certain where the response ends. */
  #stay(): void {
    this.#requestLeft = Number.POSITIVE_INFINITY;
    this.#responseLeft = Number.POSITIVE_INFINITY;
    const pipelined = this.#received;
    this.#received = undefined;
    this.#socket.resume();
    if (pipelined) this.#passOn(pipelined);
  }

  /** Continues with the next request once a request was passed on and its response received. */
  #finishExchange(): void {
    if (this.#state !== 'passing' || this.#requestLeft > 0 || this.#responseLeft !== 0) return;
    this.#state = 'reading';
    this.#upstream?.markUsed();
    this.#upstream?.resume();
    if (this.#unsent) this.#armTimeout();
    this.#next();
  }

  /** Sends bytes to the client. Returns whether the socket took them all. */
  #send(bytes: Buffer | string): boolean {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    if (this.#unsent) {
      this.#unsent = Buffer.concat([this.#unsent, buffer]);
      return false;
    }
    const written = Math.max(0, this.#socket.write(buffer));
    if (written === buffer.length) return true;
    this.#unsent = buffer.subarray(written);
    this.#parts.countInFlight(1);
    return false;
  }

  #setUnreplied(isUnreplied: boolean): void {
    if (isUnreplied === this.#isUnreplied) return;
    this.#isUnreplied = isUnreplied;
    this.#parts.countInFlight(isUnreplied ? 1 : -1);
  }

  #armTimeout(): void {
    this.#socket.timeout(this.#parts.idleTimeoutSeconds());
  }

  #end(): void {
    this.#socket.end();
  }
}
