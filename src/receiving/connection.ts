import { MAX_PASSED_BODY_BYTES } from './protocol.ts';
import { type OtherRequest, type Recognized, type RecognizedRequest, responseFraming } from './request-head.ts';
import { unsentBytes } from './unsent-bytes.ts';
import type { Downstream, Upstream, Upstreams } from './upstream.ts';

/** Received bytes of later requests above which a connection is not read until a passed-on one has its response. */
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
  /**
   * Counts the memory of what connections have received and not yet passed on.
   *
   * @returns whether the receiver has room for it
   */
  countReceived(change: number): boolean;
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
  /** What was received and not yet passed on; not empty. */
  #received: Buffer | undefined;
  /** The memory that it occupies: it can be a part of a larger buffer. */
  #receivedMemory = 0;
  /** Where the incomplete request in it will end; undefined if that is not certain. */
  #incompleteEnd: number | undefined;
  /** What the socket did not take yet. */
  #unsent: Buffer | undefined;
  /** What the kernel had not sent at the last timeout; undefined if the socket has taken bytes since. */
  #queuedBytes: number | undefined;
  #isPaused = false;
  /** Whether the main thread takes no more of the current request at the moment. */
  #isUpstreamFull = false;
  #isClosing = false;
  /** Whether the client sends nothing more. It may still read. */
  #isInputEnded = false;
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
      this.#receive(bytes);
      // a client that does not read its responses gets no further ones
      if (this.#state === 'reading' && !this.#unsent) this.#read();
    }
    this.#controlFlow();
  }

  /** Sends the response to a recording request. */
  respond(text: string, isLast: boolean): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'reading';
    if (isLast) this.#isClosing = true;
    this.#send(text);
    this.#next();
    this.#controlFlow();
  }

  /** Passes an incomplete request on, because its rest does not arrive. */
  giveUp(): void {
    if (this.#state !== 'reading' || !this.#received) return;
    this.#pass({ kind: 'other', end: this.#incompleteEnd, isHead: false });
    this.#controlFlow();
  }

  /** Closes the connection if it is idle, or else after the current request. */
  stop(): void {
    this.#isClosing = true;
    if (this.#state !== 'reading' || this.#unsent) return;
    if (this.#received) this.giveUp();
    else this.#end();
  }

  /**
   * Closes the connection. One whose request is passed on is closed when the main thread closes that connection, unless the
   * client does not read: then it would not be noticed.
   */
  close(): void {
    this.#isClosing = true;
    if (this.#state !== 'passing') this.#end();
    else if (this.#unsent) this.abort();
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
    this.#queuedBytes = undefined;
    if (written < unsent.length) {
      this.#unsent = unsent.subarray(written);
      this.#armTimeout();
      return;
    }
    this.#unsent = undefined;
    this.#parts.countInFlight(-1);
    if (this.#state === 'passing') {
      this.#socket.timeout(0); // the main thread has the timeout
      this.#upstream?.resume();
    } else this.#next();
    this.#controlFlow();
  }

  /**
   * The client has closed its side of the connection. What has arrived gets its responses, as far as the main thread's server
   * sends them to such a client; requests that are incomplete do not.
   */
  inputEnded(): void {
    this.#isInputEnded = true;
    if (this.#state === 'passing') this.#finishUpstream();
    else if (this.#state === 'reading' && !this.#unsent) this.#end();
  }

  /** No bytes have moved for the timeout. */
  timedOut(): void {
    // a request that waits for its commit is not idle
    if (this.#state === 'waiting') this.#armTimeout();
    else if (this.#unsent) void this.#abortIfStuck();
    else if (this.#state === 'reading') this.#end();
  }

  /** The client's connection is closed. */
  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#parts.release(this);
    this.#setUnreplied(false);
    if (this.#unsent) this.#parts.countInFlight(-1);
    this.#unsent = undefined;
    this.#keep(undefined);
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
    this.#isUpstreamFull = false;
    this.#controlFlow();
  }

  upstreamClosed(upstream: Upstream): void {
    if (upstream !== this.#upstream) return;
    this.#upstream = undefined;
    if (this.#state !== 'passing') return;
    this.#setUnreplied(false);
    this.#isClosing = true;
    this.#state = 'reading';
    this.#keep(undefined);
    this.#next();
    this.#controlFlow();
  }

  /** Adds to what was received. */
  #receive(bytes: Buffer): void {
    this.#keep(this.#received ? Buffer.concat([this.#received, bytes]) : bytes);
  }

  /** Keeps what was received and not yet passed on. Closes the connection if the receiver has no room for it. */
  #keep(received: Buffer | undefined, memory = received?.length ?? 0): void {
    // a copy takes less memory than a buffer of which it is the smaller part
    const isSmall = received !== undefined && 2 * received.length < memory;
    this.#received = isSmall ? Buffer.from(received) : received;
    const change = (isSmall ? received.length : memory) - this.#receivedMemory;
    this.#receivedMemory += change;
    this.#incompleteEnd = undefined;
    if (!this.#parts.countReceived(change) && change > 0) this.abort();
  }

  /** Keeps the rest of what was received. */
  #keepFrom(start: number): void {
    const received = this.#received as Buffer;
    if (received.length > start) this.#keep(received.subarray(start), this.#receivedMemory);
    else this.#keep(undefined);
  }

  /** Reads from the client only what can be passed on, or kept until then. */
  #controlFlow(): void {
    const kept = this.#received?.length ?? 0;
    const isPaused =
      this.#state === 'passing'
        ? this.#isUpstreamFull || kept > MAX_PIPELINED_BYTES
        : kept > 0 && (this.#state === 'waiting' || this.#unsent !== undefined);
    if (this.#state === 'closed' || isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Closes the connection if the kernel has sent nothing to the client since the last timeout. */
  async #abortIfStuck(): Promise<void> {
    const { remotePort, localPort } = this.#socket;
    // an address that cannot be looked up is treated like one whose bytes do not move
    const queued = await unsentBytes({ address: this.address, port: remotePort }, localPort).catch(() => undefined);
    if (this.#state === 'closed' || !this.#unsent) return;
    if (queued === undefined || queued >= (this.#queuedBytes ?? Number.POSITIVE_INFINITY)) {
      this.abort();
      return;
    }
    this.#queuedBytes = queued;
    this.#armTimeout();
  }

  /** Handles what was received, if no request is in progress. */
  #read(): void {
    const buffer = this.#received;
    if (!buffer) return;
    const recognized = this.#parts.recognize(buffer);
    if (recognized.kind === 'incomplete') {
      this.#incompleteEnd = recognized.end;
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
    this.#keepFrom(recognized.end);
  }

  /** Continues after a request: closes the connection, or handles the next request that has arrived. */
  #next(): void {
    if (this.#state !== 'reading' || this.#unsent) return;
    if (this.#isClosing) {
      this.#end();
      return;
    }
    this.#armTimeout();
    this.#read();
    if (this.#isInputEnded && this.#state === 'reading') this.#end();
  }

  /** Passes the first request in the buffer on, and the connection with it unless the end of the request is certain. */
  #pass({ end, isHead }: OtherRequest): void {
    const buffer = this.#received ?? Buffer.alloc(0);
    this.#keep(undefined);
    this.#state = 'passing';
    this.#isUpstreamFull = false;
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
    if (this.#isInputEnded) this.#finishUpstream();
  }

  /** Passes the end of what the client sends on, after its last request: then the main thread does what it does for any client. */
  #finishUpstream(): void {
    if (!this.#received) this.#upstream?.finish();
  }

  /** Passes bytes of the client on, up to the end of the request. */
  #passOn(bytes: Buffer): void {
    const part = bytes.length > this.#requestLeft ? bytes.subarray(0, this.#requestLeft) : bytes;
    this.#requestLeft -= part.length;
    if (part.length < bytes.length) {
      const rest = bytes.subarray(part.length);
      if (this.#received) this.#receive(rest);
      else this.#keep(rest, bytes.length);
    }
    if (part.length > 0 && this.#upstream && !this.#upstream.send(part)) this.#isUpstreamFull = true;
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
    this.#keep(undefined);
    if (pipelined) this.#passOn(pipelined);
    this.#controlFlow();
  }

  /** Continues with the next request once a request was passed on and its response received. */
  #finishExchange(): void {
    if (this.#state !== 'passing' || this.#requestLeft > 0 || this.#responseLeft !== 0) return;
    this.#state = 'reading';
    this.#upstream?.markUsed();
    this.#upstream?.resume();
    this.#next();
    this.#controlFlow();
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
    this.#queuedBytes = undefined;
    this.#armTimeout();
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
