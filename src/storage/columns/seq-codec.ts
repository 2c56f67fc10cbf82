/*
 * The encoding of the `seq` of a chunk's rows. They increase, so each is stored as its difference from the previous one, in
 * 32 bits. A difference that does not fit, about 17 minutes, is replaced by a marker and stored as a double at the end.
 *
 *   first seq: float64 | rows - 1 differences: uint32 each | one float64 per marker
 */

const MARKER = 0xffff_ffff;

/** Encodes increasing integers. Empty for no rows. */
export function encodeSeqs(seqs: Float64Array): Uint8Array {
  if (seqs.length === 0) return new Uint8Array(0);
  let large = 0;
  for (let i = 1; i < seqs.length; i++) if ((seqs[i] as number) - (seqs[i - 1] as number) >= MARKER) large++;
  const view = new DataView(new ArrayBuffer(8 + 4 * (seqs.length - 1) + 8 * large));
  view.setFloat64(0, seqs[0] as number, true);
  let largeAt = 8 + 4 * (seqs.length - 1);
  for (let i = 1, at = 8; i < seqs.length; i++, at += 4) {
    const difference = (seqs[i] as number) - (seqs[i - 1] as number);
    view.setUint32(at, Math.min(difference, MARKER), true);
    if (difference < MARKER) continue;
    view.setFloat64(largeAt, difference, true);
    largeAt += 8;
  }
  return new Uint8Array(view.buffer);
}

/**
 * Decodes the `seq` of each row.
 *
 * @param rows the number of rows that were encoded
 */
export function decodeSeqs(bytes: Uint8Array, rows: number): Float64Array {
  const seqs = new Float64Array(rows);
  if (rows === 0) return seqs;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let seq = view.getFloat64(0, true);
  seqs[0] = seq;
  let largeAt = 8 + 4 * (rows - 1);
  for (let i = 1, at = 8; i < rows; i++, at += 4) {
    const difference = view.getUint32(at, true);
    seq += difference < MARKER ? difference : view.getFloat64(largeAt, true);
    if (difference === MARKER) largeAt += 8;
    seqs[i] = seq;
  }
  return seqs;
}
