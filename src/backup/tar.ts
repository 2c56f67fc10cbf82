/*
 * The tar format, as far as backups use it: regular files in the "ustar interchange format" of POSIX.1-2017
 * (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06). Every byte follows from the
 * names, sizes and time of the files, so that a verification can compute it again. Tar libraries do not promise that.
 */

/** Headers, file contents and the end of an archive are padded to blocks of this size. */
export const BLOCK_BYTES = 512;
/** Two blocks of zeros end an archive. */
export const END_BYTES = 2 * BLOCK_BYTES;

/** Offset and length of the fields of a header. The others contain zeros. */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
  devmajor: [329, 8],
  devminor: [337, 8],
} as const;
/** Read and written only by the owner. */
const MODE = 0o600;
const REGULAR_FILE = '0';
/** The name of the format with its terminator, then its version. */
const MAGIC = 'ustar\x0000';

/** Returns the header of a file: its name of up to 100 ASCII characters, its size, and its time in seconds since 1970. */
export function encodeHeader(name: string, sizeBytes: number, mtime: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const text = ([offset]: readonly [number, number], value: string) => header.write(value, offset, 'ascii');
  const octal = (field: readonly [number, number], value: number) => text(field, toOctal(value, field[1] - 1));
  text(FIELDS.name, name);
  octal(FIELDS.mode, MODE);
  octal(FIELDS.uid, 0);
  octal(FIELDS.gid, 0);
  octal(FIELDS.size, sizeBytes);
  octal(FIELDS.mtime, mtime);
  text(FIELDS.type, REGULAR_FILE);
  text(FIELDS.magic, MAGIC);
  octal(FIELDS.devmajor, 0);
  octal(FIELDS.devminor, 0);
  text(FIELDS.checksum, ' '.repeat(FIELDS.checksum[1])); // the checksum counts its own field as spaces
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  text(FIELDS.checksum, `${toOctal(checksum, 6)}\0 `);
  return header;
}

/** Returns a number in a header; undefined if the field does not contain one. */
export function numberInHeader(header: Uint8Array, field: 'size' | 'mtime'): number | undefined {
  const [offset, length] = FIELDS[field];
  const text = Buffer.from(header.subarray(offset, offset + length)).toString('latin1');
  return /^[0-7]{11}\0$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** Returns the number of zeros that follow the content of a file of this size. */
export function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** Returns a number in octal digits, with leading zeros. */
function toOctal(value: number, digits: number): string {
  const text = value.toString(8).padStart(digits, '0');
  if (text.length > digits) throw new RangeError(`${value} does not fit into ${digits} octal digits`);
  return text;
}
