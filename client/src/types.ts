/** A metric, as it is sent. */
export interface Metric {
  metric_name: string;
  metric_value: number;
  data_string?: string | undefined;
  /** When it happened, in RFC 3339. */
  timestamp?: string | undefined;
}

/** An event, as it is sent. */
export interface Event {
  type: string;
  data: object;
  data_index?: string | undefined;
  /** When it happened, in RFC 3339. */
  timestamp?: string | undefined;
}

/** A metric or an event. */
export type Item = Metric | Event;

/** Why items will not be stored. */
export interface Rejection {
  /** The HTTP status of the server's response; 0 if the client rejected the items itself. */
  status: number;
  /**
   * The server's error code, or one of the client's: `invalid_item`, `queue_full`, `outcome_unknown` or `closed`; or
   * `http_error` for a response that is not the server's.
   */
  code: string;
  message: string;
}

/** Options of a metric or an event. */
export interface RecordOptions {
  /** When it happened: a Date, milliseconds since 1970, or RFC 3339 with an offset. Default: now. */
  timestamp?: Date | number | string;
}

/** Options of {@link createClient}. */
export interface ClientOptions {
  /** The server's URL, such as `https://log.example.com`. */
  url: string;
  /** The user's token, or a function that returns one. It is called again after a 401. */
  token: string | (() => string | Promise<string>);
  /** Receives items that will not be stored. Default: a warning on the console. */
  onRejected?: (items: Item[], rejection: Rejection) => void;
  /**
   * Where items wait: `auto` (default) is IndexedDB where there is one, otherwise memory; `path` is a file, for Node and
   * Bun, that only one process at a time can use.
   */
  storage?: 'auto' | 'memory' | { path: string };
}

/** A client. Its methods never throw: they pass invalid items to `onRejected`. */
export interface Client {
  /** Records a measured value. */
  metric(name: string, value: number, label?: string, options?: RecordOptions): void;
  /** Records an event. `data` is a JSON object, `index` the label to count by. */
  track(type: string, data?: object, index?: string, options?: RecordOptions): void;
  /** Sends at once. Resolves when everything recorded so far is stored or was passed to `onRejected`. */
  flush(): Promise<void>;
  /**
   * Sends what is queued, unless the server cannot be reached or asks to wait, and stops. What is left stays in
   * IndexedDB or the file; from memory, it is passed to `onRejected`.
   */
  close(): Promise<void>;
}
