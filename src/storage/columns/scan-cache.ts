import { LRUCache } from 'lru-cache';

/** Once the cache is full, one of this many new entries is kept. */
const KEPT_OF_NEW = 4;

/**
 * A cache that scans can use. A scan over more entries than fit would replace each entry of a plain LRU cache just before the
 * next scan reads it, so that nothing would ever be found. Once this cache is full, it keeps only some of the new entries,
 * so the next scan finds most of the others; entries that are no longer used are replaced nevertheless.
 */
export class ScanCache<Key extends string | number, Value extends object | symbol> {
  readonly #entries: LRUCache<Key, Value>;
  readonly #maxBytes: number;
  readonly #bytesOf: (value: Value) => number;
  #notKept = 0;

  /** @param bytesOf returns the size of an entry */
  constructor(maxBytes: number, bytesOf: (value: Value) => number) {
    this.#maxBytes = maxBytes;
    this.#bytesOf = bytesOf;
    this.#entries = new LRUCache({ maxSize: maxBytes });
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  /** Adds an entry that was not found, unless the cache is full. */
  add(key: Key, value: Value): void {
    const size = this.#bytesOf(value);
    if (this.admits(size)) this.#entries.set(key, value, { size });
  }

  /** Returns whether to create and {@link set} an entry of a size that takes long to create. Call it once per entry. */
  admits(bytes: number): boolean {
    return this.#entries.calculatedSize + bytes <= this.#maxBytes || ++this.#notKept % KEPT_OF_NEW === 0;
  }

  /** Sets an entry that was admitted. */
  set(key: Key, value: Value): void {
    this.#entries.set(key, value, { size: this.#bytesOf(value) });
  }

  keys(): IterableIterator<Key> {
    return this.#entries.keys();
  }

  delete(key: Key): void {
    this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }
}
