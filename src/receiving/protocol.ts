/*
 * The messages between the main thread and its receivers: threads that accept connections and parse small recording
 * requests. Each message carries the requests, or the responses, of one turn of the event loop.
 */

/** The header fields that a recording route reads, in the order in which a request's values are passed. */
export const PASSED_FIELDS = [
  'authorization',
  'content-type',
  'content-length',
  'idempotency-key',
  'x-act-as-user-id',
  'x-forwarded-for',
  'traceparent',
] as const;

/** Largest body that a receiver reads itself, in bytes. The main thread reads larger ones from the connection. */
export const MAX_PASSED_BODY_BYTES = 64 * 1024;

/** Startup options of a receiver. */
export interface ReceiverOptions {
  /** Distinguishes the receivers, including those that have exited. */
  readonly number: number;
  /** The paths of the recording routes. */
  readonly paths: readonly string[];
  /** Largest body that the receiver reads itself, in bytes. */
  readonly maxBodyBytes: number;
  /** Whether responses to pages of other origins have header fields of their own, which only the main thread adds. */
  readonly hasCors: boolean;
  /** The memory of the {@link PeerTable}. */
  readonly peers: SharedArrayBuffer;
  /** See {@link COUNTERS}. */
  readonly counters: SharedArrayBuffer;
}

/** Numbers that a receiver shares with the main thread: their places in an Int32Array. */
export const COUNTERS = {
  /**
   * Requests of which something was received, but no response, except for those that the main thread has received from a
   * connection; and responses that the kernel has not taken completely.
   */
  inFlight: 0,
  /** Connections to the main thread. */
  upstreams: 1,
  /** The generation whose connections may be accepted, which the main thread sets; 0: none. */
  accepted: 2,
} as const;

/** A message to a receiver. */
export type ToReceiver =
  | {
      readonly do: 'listen';
      readonly hostname: string;
      readonly port: number;
      /** The port on which the main thread serves all other requests. */
      readonly upstreamPort: number;
      readonly idleTimeoutSeconds: number;
      readonly upstreamUsableMs: number;
      readonly generation: number;
    }
  /** Stops listening, closes idle connections, and the others after their requests. */
  | { readonly do: 'stop' }
  /** Closes all connections that were opened up to a generation. */
  | { readonly do: 'close'; readonly generation: number }
  | Responses;

/** Responses: for each, the number of its connection, its head without `Date` and `Content-Length`, and its body. */
export type Responses = readonly (string | number)[];

/** A message from a receiver. */
export type FromReceiver =
  | { readonly event: 'ready' }
  | { readonly event: 'listening'; readonly generation: number }
  | { readonly event: 'failed'; readonly generation: number; readonly code: string; readonly message: string }
  /** A connection was closed because of an error in the receiver. */
  | { readonly event: 'error'; readonly message: string }
  /** All connections that were opened up to a generation are closed. */
  | { readonly event: 'stopped'; readonly generation: number }
  | ReceivedRequests;

/**
 * Requests: for each, the number of its connection, the index of its path, the size of its body, the client's address,
 * and the values of {@link PASSED_FIELDS}; and all bodies, in the same order.
 */
export interface ReceivedRequests {
  readonly event: 'received';
  readonly requests: readonly (string | number | null)[];
  readonly bodies: Uint8Array<ArrayBuffer>;
}

/** The length of a request in {@link ReceivedRequests.requests}. */
export const REQUEST_LENGTH = 4 + PASSED_FIELDS.length;
