import { PASSED_FIELDS } from './protocol.ts';

const FIELD_INDEX: ReadonlyMap<string, number> = new Map(PASSED_FIELDS.map((name, index) => [name, index]));

/** The header fields of a {@link ReceivedRequest}. */
class ReceivedHeaders {
  readonly #values: readonly (string | number | null)[];
  readonly #start: number;

  constructor(values: readonly (string | number | null)[], start: number) {
    this.#values = values;
    this.#start = start;
  }

  /** Returns the value of a field, as the method of `Headers`. Names are in lowercase. */
  get(name: string): string | null {
    const index = FIELD_INDEX.get(name);
    return index === undefined ? null : (this.#values[this.#start + index] as string | null);
  }
}

/** A recording request that a receiver has read: the part of `Request` that the recording routes use. */
export class ReceivedRequest {
  readonly method = 'POST';
  readonly headers: ReceivedHeaders;
  /** It was read at once. */
  readonly body = null;
  /** The client's address. */
  readonly peer: string;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /**
   * @param values contain the values of {@link PASSED_FIELDS} from `start`
   */
  constructor(
    values: readonly (string | number | null)[],
    start: number,
    peer: string,
    bytes: Uint8Array<ArrayBuffer>,
  ) {
    this.headers = new ReceivedHeaders(values, start);
    this.peer = peer;
    this.#bytes = bytes;
  }

  /** Returns the body, as the method of `Request`. */
  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.#bytes);
  }
}
