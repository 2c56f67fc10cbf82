/** Places of an empty table; a power of two. */
const FIRST_PLACES = 1_024;
/** Words for which an empty table has room. */
const FIRST_WORDS = 8_192;
/** Set in the length of a text whose characters take 16 bits. */
const WIDE = 2 ** 31;

/**
 * A map from texts, each in a scope, to positive numbers. It is a hash table whose texts are in one array. With tens of
 * thousands of texts, most of a lookup is waiting for memory: it reads two places, where a `Map` of strings follows a chain of
 * pointers.
 */
export class TextNumbers {
  /** Two elements per place: where the text's record begins, plus one, or 0 if the place is free; and its hash. */
  #table = new Uint32Array(2 * FIRST_PLACES);
  /** Records: the number or 0, the scope, the length, and the characters. */
  #records = new Uint32Array(FIRST_WORDS);
  #end = 0;
  #size = 0;
  /** The scope, length and characters of the text that is looked up. */
  #words = new Uint32Array(64);
  /** Random, so that texts that collide cannot be chosen. */
  readonly #seed = crypto.getRandomValues(new Int32Array(1))[0] as number;

  /** Memory in use, in bytes. */
  get bytes(): number {
    return 4 * (this.#end + this.#table.length);
  }

  /** Returns the number of a text; undefined if it has none. */
  get(text: string, scope: number): number | undefined {
    const length = this.#pack(text, scope);
    const place = this.#placeOf(length, hashOf(this.#words, length, this.#seed));
    const start = this.#table[place] as number;
    return start === 0 ? undefined : this.#records[start - 1] || undefined;
  }

  /** Removes the number of a text. */
  delete(text: string, scope: number): void {
    if (this.get(text, scope) !== undefined) this.set(text, scope, 0); // its place stays in use until {@link clear}
  }

  /** Sets the number of a text. */
  set(text: string, scope: number, number: number): void {
    const length = this.#pack(text, scope);
    const hash = hashOf(this.#words, length, this.#seed);
    const place = this.#placeOf(length, hash);
    const start = this.#table[place] as number;
    if (start > 0) {
      this.#records[start - 1] = number;
      return;
    }
    this.#table[place] = this.#append(number, length) + 1;
    this.#table[place + 1] = hash;
    if (8 * ++this.#size > 3 * this.#table.length) this.#grow();
  }

  /** Replaces all numbers; 0 removes the text. Reads the records in order, without looking any text up. */
  renumber(renumbered: (number: number) => number): void {
    const records = this.#records;
    for (let at = 0; at < this.#end; ) {
      const number = records[at] as number;
      if (number !== 0) records[at] = renumbered(number);
      const length = records[at + 2] as number;
      at += 3 + (length < WIDE ? Math.ceil(length / 4) : Math.ceil((length - WIDE) / 2));
    }
  }

  /** Removes all texts. Keeps the memory. */
  clear(): void {
    if (this.#end === 0) return; // an erasure clears once per name, and filling a large table takes half a millisecond
    this.#table.fill(0);
    this.#end = 0;
    this.#size = 0;
  }

  /** Copies a text into `#words`. Returns their number. */
  #pack(text: string, scope: number): number {
    const { length } = text;
    if (this.#words.length < length / 2 + 4) this.#words = new Uint32Array(length);
    const words = this.#words;
    words[0] = scope;
    words[1] = length;
    let at = 2;
    let used = 0;
    let i = 0;
    for (; i + 3 < length; i += 4) {
      const a = text.charCodeAt(i);
      const b = text.charCodeAt(i + 1);
      const c = text.charCodeAt(i + 2);
      const d = text.charCodeAt(i + 3);
      used |= a | b | c | d;
      words[at++] = a | (b << 8) | (c << 16) | (d << 24);
    }
    let word = 0;
    for (let shift = 0; i < length; i++, shift += 8) {
      const code = text.charCodeAt(i);
      used |= code;
      word |= code << shift;
    }
    if (length % 4 !== 0) words[at++] = word;
    return used < 256 ? at : packWide(text, words);
  }

  /** Returns where the place of the text in `#words`, or a free one for it, begins. */
  #placeOf(length: number, hash: number): number {
    const table = this.#table;
    for (let place = firstPlace(hash, table); ; place = nextPlace(place, table)) {
      const start = table[place] as number;
      if (start === 0 || (table[place + 1] === hash && isAt(this.#records, start, this.#words, length))) return place;
    }
  }

  #append(number: number, length: number): number {
    const start = this.#end;
    this.#end += 1 + length;
    if (this.#end > this.#records.length) {
      const grown = new Uint32Array(Math.max(this.#end, 2 * this.#records.length));
      grown.set(this.#records);
      this.#records = grown;
    }
    const records = this.#records;
    const words = this.#words;
    records[start] = number;
    for (let i = 0; i < length; i++) records[start + 1 + i] = words[i] as number;
    return start;
  }

  #grow(): void {
    const old = this.#table;
    const table = new Uint32Array(2 * old.length);
    for (let from = 0; from < old.length; from += 2) {
      if (old[from] === 0) continue;
      let place = firstPlace(old[from + 1] as number, table);
      while (table[place] !== 0) place = nextPlace(place, table);
      table[place] = old[from] as number;
      table[place + 1] = old[from + 1] as number;
    }
    this.#table = table;
  }
}

/** Copies a text whose characters take 16 bits, after the scope. Returns the number of words. */
function packWide(text: string, words: Uint32Array): number {
  words[1] = text.length + WIDE;
  let at = 2;
  for (let i = 0; i < text.length; i += 2) words[at++] = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16);
  return at;
}

function firstPlace(hash: number, table: Uint32Array): number {
  return (2 * hash) & (table.length - 1);
}

function nextPlace(place: number, table: Uint32Array): number {
  return (place + 2) & (table.length - 1);
}

/** Returns whether the words are at a position of an array. */
function isAt(records: Uint32Array, start: number, words: Uint32Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (records[start + i] !== words[i]) return false;
  return true;
}

/** Returns an unsigned 32-bit hash of words, mixed as in MurmurHash. */
function hashOf(words: Uint32Array, length: number, seed: number): number {
  let hash = seed;
  for (let i = 0; i < length; i++) {
    hash = Math.imul(hash ^ (words[i] as number), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  // so that every bit of the last word changes the lowest bits, which choose the place
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
