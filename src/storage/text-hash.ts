import type { Database } from 'bun:sqlite';
import { getRandomValues } from 'node:crypto';

/** Mask of the 53 bits that a double represents exactly. JavaScript reads SQLite's integers as doubles. */
const MASK = (1n << 53n) - 1n;

/**
 * A seeded hash of a text: XXH3 (https://github.com/Cyan4973/xxHash), truncated to 53 bits.
 *
 * @param scope added to the seed, so the same text hashes differently in each scope
 */
export type TextHash = (text: string, scope?: number) => number;

/**
 * Creates the text hash of a database. Indexes contain these hashes instead of texts: SQLite copies indexed texts
 * whenever it splits a page, and an erasure would have to find the copies.
 *
 * The first call for a database generates a random seed and stores it there.
 */
export function createTextHash(client: Database): TextHash {
  const read = client.query<{ value: number }, []>("SELECT value FROM column_state WHERE name = 'hash_seed'");
  if (!read.get()) {
    const [randomBits = 1n] = getRandomValues(new BigUint64Array(1));
    client.run("INSERT OR IGNORE INTO column_state (name, value) VALUES ('hash_seed', ?)", [Number(randomBits & MASK)]);
  }
  const seed = read.get()?.value ?? 0;
  return (text, scope = 0) => Number(Bun.hash.xxHash3(text, BigInt(seed + scope)) & MASK);
}
