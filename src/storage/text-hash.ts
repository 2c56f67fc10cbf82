import type { Database } from 'bun:sqlite';
import { getRandomValues } from 'node:crypto';

/** The bits of a hash: as many as a double, and with it SQLite's integer as JavaScript reads it, holds exactly. */
const MASK = (1n << 53n) - 1n;

/**
 * Hashes a text: XXH3 (https://github.com/Cyan4973/xxHash) with a seed, cut to 53 bits.
 *
 * @param scope mixed into the seed: equal texts of two scopes have different hashes
 */
export type TextHash = (text: string, scope?: number) => number;

/**
 * Makes the hash of a database. Indexes hold these hashes in place of the texts: a text in an index is copied
 * whenever SQLite splits a page, and an erasure would have to find the copies.
 *
 * The seed is drawn once per database and stored in it: the first call writes.
 */
export function createTextHash(client: Database): TextHash {
  const read = client.query<{ value: number }, []>("SELECT value FROM column_state WHERE name = 'hash_seed'");
  if (!read.get()) {
    const [drawn = 1n] = getRandomValues(new BigUint64Array(1));
    client.run("INSERT OR IGNORE INTO column_state (name, value) VALUES ('hash_seed', ?)", [Number(drawn & MASK)]);
  }
  const seed = read.get()?.value ?? 0;
  return (text, scope = 0) => Number(Bun.hash.xxHash3(text, BigInt(seed + scope)) & MASK);
}
