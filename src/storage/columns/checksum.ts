/** Returns a checksum of several blobs: XXH3, with each hash as the seed of the next, truncated to 53 bits. */
export function checksumOfBlobs(blobs: readonly Uint8Array[]): number {
  let hash = 0n;
  for (const bytes of blobs) hash = Bun.hash.xxHash3(bytes, hash);
  return Number(hash & ((1n << 53n) - 1n));
}
