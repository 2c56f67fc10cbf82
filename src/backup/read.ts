import { createHash } from 'node:crypto';
import { decodeManifest, MANIFEST_NAME, MAX_MANIFEST_BYTES, type Manifest, mtimeOf } from './manifest.ts';
import { BLOCK_BYTES, END_BYTES, encodeHeader, numberInHeader, paddingOf } from './tar.ts';

/** Maximum number of problems listed; further ones are only counted. */
const MAX_PROBLEMS = 20;

/** A backup that is damaged or is not a backup. The message lists what is wrong, one problem per line. */
export class DamagedBackupError extends Error {
  override readonly name = 'DamagedBackupError';
  readonly problems: readonly string[];
  /** Number of problems that are not listed. */
  readonly omitted: number;

  constructor(problems: readonly string[], omitted = 0) {
    super([...problems, ...(omitted > 0 ? [`Problems not listed: ${omitted}.`] : [])].join('\n'));
    this.problems = problems;
    this.omitted = omitted;
  }
}

/** What to do with the bytes of a backup while they are checked. */
export interface BackupReader {
  /** Called with the bytes of the database, in order. They are trustworthy only once {@link readBackup} resolves. */
  readonly onData?: (bytes: Uint8Array) => void;
  /** Called with the number of bytes read so far. */
  readonly onBytes?: (total: number) => void;
}

/**
 * Reads a backup and checks each of its bytes: checksums of the manifest and of every part; headers, padding and the end
 * of the archive by computing them again.
 *
 * @param source the bytes of the backup, in chunks of any size
 * @returns the manifest
 * @throws {DamagedBackupError} with the location of each problem, as the name of the part and offsets in the backup.
 *   Errors of the source are rethrown
 */
export async function readBackup(source: AsyncIterable<Uint8Array>, reader: BackupReader = {}): Promise<Manifest> {
  const input = new ByteReader(source, reader.onBytes);
  const problems = new Problems();
  const header = await input.take(BLOCK_BYTES);
  const sizeBytes = numberInHeader(header, 'size');
  if (header.length < BLOCK_BYTES || sizeBytes === undefined || sizeBytes > MAX_MANIFEST_BYTES) {
    throw notABackup(header.length);
  }
  const json = await input.take(sizeBytes);
  const manifest = decodeManifest(json);
  if (!manifest) {
    // a header that matches its own content is intact, so the manifest is not
    const isIntact = encodeHeader(MANIFEST_NAME, sizeBytes, numberInHeader(header, 'mtime') ?? 0).equals(header);
    if (!isIntact) throw notABackup(header.length);
    const end = BLOCK_BYTES + sizeBytes;
    if (input.offset < end) problems.add('the file', 'it is truncated', input.offset, end);
    else problems.add(MANIFEST_NAME, 'its content does not match its checksum', BLOCK_BYTES, end);
    throw problems.error();
  }
  const mtime = mtimeOf(manifest);
  problems.compare(`the header of ${MANIFEST_NAME}`, header, encodeHeader(MANIFEST_NAME, sizeBytes, mtime), 0);
  await checkZeros(`the padding of ${MANIFEST_NAME}`, paddingOf(sizeBytes));
  for (const { name, bytes, sha256 } of manifest.parts) {
    const start = input.offset;
    problems.compare(`the header of ${name}`, await input.take(BLOCK_BYTES), encodeHeader(name, bytes, mtime), start);
    const hash = createHash('sha256');
    const end = start + BLOCK_BYTES + bytes;
    for await (const chunk of input.stream(bytes)) {
      hash.update(chunk);
      if (problems.isEmpty) reader.onData?.(chunk);
    }
    if (input.offset < end) break;
    if (hash.digest('hex') !== sha256) {
      problems.add(name, 'its content does not match its checksum', start + BLOCK_BYTES, end);
    }
    await checkZeros(`the padding of ${name}`, paddingOf(bytes));
  }
  if (!input.isAtEnd) await checkZeros('the end of the archive', END_BYTES);
  const expectedBytes = sizeOfBackup(manifest, sizeBytes);
  if (input.offset < expectedBytes) {
    problems.add('the file', 'it is truncated', input.offset, expectedBytes);
  } else if ((await input.take(1)).length > 0) {
    problems.add('the file', 'it continues after its end', expectedBytes, undefined);
  }
  if (!problems.isEmpty) throw problems.error();
  return manifest;

  async function checkZeros(place: string, length: number): Promise<void> {
    const start = input.offset;
    problems.compare(place, await input.take(length), Buffer.alloc(length), start);
  }
}

/** Returns the size of a whole backup in bytes. */
function sizeOfBackup({ parts }: Manifest, manifestBytes: number): number {
  return [manifestBytes, ...parts.map(({ bytes }) => bytes)].reduce(
    (sum, bytes) => sum + BLOCK_BYTES + bytes + paddingOf(bytes),
    END_BYTES,
  );
}

function notABackup(readBytes: number): DamagedBackupError {
  return new DamagedBackupError([
    readBytes < BLOCK_BYTES
      ? `It ends at byte ${readBytes}, before the end of its first header: it is not a backup, or it is truncated.`
      : `The header of ${MANIFEST_NAME} (bytes 0 to ${BLOCK_BYTES - 1}) is not one of a backup: the file is damaged, or not a backup.`,
  ]);
}

/** The problems found in a backup. */
class Problems {
  readonly #listed: string[] = [];
  #omitted = 0;

  get isEmpty(): boolean {
    return this.#listed.length === 0;
  }

  /** Adds a problem at a range of bytes: from a first one to the one before `end`, or to the end of the file. */
  add(place: string, problem: string, start: number, end: number | undefined): void {
    const range = end === undefined ? `from byte ${start}` : `bytes ${start} to ${end - 1}`;
    if (this.#listed.length < MAX_PROBLEMS) this.#listed.push(`Damage in ${place}, ${range}: ${problem}.`);
    else this.#omitted++;
  }

  /** Compares bytes with what they must be. Does not report bytes that are missing. */
  compare(place: string, found: Uint8Array, expected: Uint8Array, start: number): void {
    for (let i = 0; i < found.length; i++) {
      if (found[i] === expected[i]) continue;
      const end = found.findLastIndex((byte, at) => byte !== expected[at]) + 1;
      this.add(place, 'they should be different', start + i, start + end);
      return;
    }
  }

  error(): DamagedBackupError {
    return new DamagedBackupError(this.#listed, this.#omitted);
  }
}

/** Reads an exact number of bytes at a time from chunks of any size. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #onBytes: (total: number) => void;
  #chunk: Uint8Array = new Uint8Array(0);
  #received = 0;
  /** Number of bytes read so far. */
  offset = 0;
  isAtEnd = false;

  constructor(source: AsyncIterable<Uint8Array>, onBytes: (total: number) => void = () => {}) {
    this.#chunks = source[Symbol.asyncIterator]();
    this.#onBytes = onBytes;
  }

  /** Reads bytes; fewer only at the end. */
  async take(length: number): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.stream(length)) pieces.push(Uint8Array.from(piece));
    return Buffer.concat(pieces);
  }

  /** Yields bytes in chunks; fewer only at the end. A chunk is valid only until the next one is requested. */
  async *stream(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      if (this.#chunk.length === 0) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          this.isAtEnd = true;
          return;
        }
        this.#chunk = value;
        this.#received += this.#chunk.length;
        this.#onBytes(this.#received);
      }
      const piece = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(piece.length);
      this.offset += piece.length;
      left -= piece.length;
      if (piece.length > 0) yield piece;
    }
  }
}
