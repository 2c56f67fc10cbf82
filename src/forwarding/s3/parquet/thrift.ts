import { deserializeTCompactProtocol } from 'hyparquet/src/thrift.js';

/*
 * Bounds for hyparquet's parser of Thrift's compact protocol, in which Parquet writes footers and page headers: it parses any
 * number of elements, nested to any depth, and an element of one byte becomes an object a hundred times as large.
 */

/** Thrown for bytes that cannot be read. The message contains no value. */
export class ParquetError extends Error {}

/** A struct as hyparquet parses it: its fields have whatever types the file says. */
export type ThriftStruct = ReturnType<typeof deserializeTCompactProtocol>;

const TYPE = { stop: 0, yes: 1, no: 2, byte: 3, i16: 4, i32: 5, i64: 6, double: 7, binary: 8, list: 9, struct: 12 };
/** Deepest nesting of structs and lists; a footer has 9 levels. */
const MAX_DEPTH = 32;
/** Longest integer, in bytes of 7 bits. */
const MAX_VARINT_BYTES = 10;

/** Walks over bytes, and throws a {@link ParquetError} before their end is exceeded. */
export class ByteWalker {
  at: number;
  /** Number of elements that may still be skipped. */
  elementsLeft = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new ParquetError('a page or the metadata is cut off');
    return byte;
  }

  /** Returns the bytes that are left. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.at);
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new ParquetError('a page or the metadata is cut off');
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  /** Reads an integer without a sign. It is exact up to 2^53. */
  varint(): number {
    let value = 0;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * 128 ** i;
      if (byte < 0x80) return value;
    }
    throw new ParquetError('an integer is too long');
  }

  /** Yields the fields of a struct. The caller skips the value of each. */
  *fields(): Generator<{ readonly id: number; readonly type: number }> {
    for (let id = 0; ; ) {
      const header = this.byte();
      const type = header & 0x0f;
      if (type === TYPE.stop) return;
      id = header >> 4 > 0 ? id + (header >> 4) : this.varint() / 2;
      yield { id, type };
    }
  }

  /** Yields the structs of a list. The bounds of each are checked before it is parsed. */
  *structs(type: number, maxElements: number, each: boolean): Generator<ThriftStruct> {
    const list = this.#listHead();
    // hyparquet-writer, and so an export, gives an empty list no type
    const isOfStructs = list.type === TYPE.struct || list.length === 0;
    if (type !== TYPE.list || !isOfStructs) throw new ParquetError('a list has another type');
    this.elementsLeft = maxElements;
    for (let i = 0; i < list.length; i++) {
      if (each) this.elementsLeft = maxElements;
      yield this.struct();
    }
  }

  /** Parses a struct. */
  struct(): ThriftStruct {
    const offset = this.at;
    this.skip(TYPE.struct);
    return deserializeTCompactProtocol({ view: viewOf(this.#bytes.subarray(0, this.at)), offset });
  }

  skip(type: number, depth = 0): void {
    if (depth > MAX_DEPTH) throw new ParquetError('its metadata is nested too deeply');
    if (this.elementsLeft-- <= 0) throw new ParquetError('its metadata has too many elements');
    if (type === TYPE.yes || type === TYPE.no) return;
    if (type === TYPE.byte) this.byte();
    else if (type === TYPE.i16 || type === TYPE.i32 || type === TYPE.i64) this.varint();
    else if (type === TYPE.double) this.take(8);
    else if (type === TYPE.binary) this.take(this.varint());
    else if (type === TYPE.struct) for (const field of this.fields()) this.skip(field.type, depth + 1);
    else if (type === TYPE.list) {
      const list = this.#listHead();
      // booleans take a byte in a list, unlike in a field
      const elements = list.type === TYPE.yes || list.type === TYPE.no ? TYPE.byte : list.type;
      for (let i = 0; i < list.length; i++) this.skip(elements, depth + 1);
    } else throw new ParquetError('its metadata has a value of an unknown type');
  }

  #listHead(): { readonly length: number; readonly type: number } {
    const head = this.byte();
    const length = head >> 4 === 15 ? this.varint() : head >> 4;
    // every element takes a byte or more
    if (length > this.left) throw new ParquetError('a list is cut off');
    return { length, type: head & 0x0f };
  }
}

/** Returns a view of bytes. */
export function viewOf(bytes: Uint8Array): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
}

/** Checks that a value is a number from 0 to a maximum. */
export function sizeOf(value: unknown, maximum: number, what: string): number {
  const size = typeof value === 'bigint' ? Number(value) : value;
  if (typeof size !== 'number' || size < 0) throw new ParquetError(`${what} is missing or negative`);
  if (size > maximum) throw new ParquetError(`${what} is ${size}; at most ${maximum} is read`);
  return size;
}
