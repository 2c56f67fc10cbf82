/**
 * The bit that is set in every checksum, so that all take 8 bytes in a row. SQLite overwrites only the pages that differ if a
 * row keeps its size; otherwise it writes the whole row, to other pages.
 */
const SIZE_BIT = 2 ** 52;

/** Returns a checksum of several blobs: XXH3, with each hash as the seed of the next, truncated to 52 bits, plus 2^52. */
export function checksumOfBlobs(blobs: readonly Uint8Array[]): number {
  let hash = 0n;
  for (const bytes of blobs) hash = Bun.hash.xxHash3(bytes, hash);
  return Number(hash & ((1n << 52n) - 1n)) + SIZE_BIT;
}

/** Returns whether a stored checksum is that of some blobs. In older databases, the highest bit is that of the hash. */
export function isChecksumOf(stored: number, blobs: readonly Uint8Array[]): boolean {
  const checksum = checksumOfBlobs(blobs);
  return stored === checksum || stored === checksum - SIZE_BIT;
}
