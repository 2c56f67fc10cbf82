import { createHash } from 'node:crypto';
import type { FilePiece } from '../durable-file.ts';
import type { Snapshot } from '../storage/snapshot.ts';
import { encodeManifest, MANIFEST_NAME, type Manifest, mtimeOf, planParts } from './manifest.ts';
import { END_BYTES, encodeHeader, paddingOf } from './tar.ts';

/** Bytes read from the database at once. */
const CHUNK_BYTES = 1024 ** 2;
const EMPTY = new Uint8Array(0);
/** Stands for a checksum that is not known yet. */
const NO_SHA256 = '0'.repeat(64);

/** What a backup says about its origin. */
export interface BackupOrigin {
  /** The version of this program. */
  readonly version: string;
  /** When the snapshot was taken, in milliseconds since 1970. */
  readonly takenAt: number;
  /** The fingerprint of the key of the erasure list; undefined if there is no key. */
  readonly erasureKey: string | undefined;
}

/** Receives the number of bytes processed so far, and their total. */
export type OnProgress = (done: number, total: number) => void;

/**
 * Yields the bytes of a backup in order: a tar archive of the manifest and the parts of the database. The manifest comes
 * first and contains the checksums, so the database is read twice; before the second time, empty chunks are yielded. A
 * chunk is valid only until the next one is requested.
 *
 * @returns the manifest
 * @throws {Error} if the database cannot be read, or reads differently the second time
 */
export function* backupContent(
  snapshot: Snapshot,
  origin: BackupOrigin,
  onProgress: OnProgress = () => {},
): Generator<Uint8Array, Manifest> {
  const reader = new DatabaseReader(snapshot, 2 * snapshot.sizeBytes, onProgress);
  const description = yield* describe(snapshot, origin);
  const parts: Manifest['parts'] = [];
  let start = 0;
  for (const { name, bytes } of planParts(snapshot.sizeBytes)) {
    const part = reader.part(start, bytes);
    let next = part.next();
    for (; !next.done; next = part.next()) yield EMPTY;
    parts.push({ name, bytes, sha256: next.value });
    start += bytes;
  }
  const { manifest, head } = encodeHead({ ...description, parts });
  yield head;
  start = 0;
  for (const { name, bytes, sha256 } of parts) {
    yield encodeHeader(name, bytes, mtimeOf(description));
    if ((yield* reader.part(start, bytes)) !== sha256) {
      throw new Error(`the database changed while it was read: bytes ${start} to ${start + bytes - 1} differ`);
    }
    yield new Uint8Array(paddingOf(bytes));
    start += bytes;
  }
  yield new Uint8Array(END_BYTES);
  return manifest;
}

/**
 * Yields the same bytes with their positions in a file. The database is read only once, because the manifest, whose size is
 * known before, comes last. A piece is valid only until the next one is requested; the first ones are empty.
 *
 * @returns the manifest
 * @throws {Error} if the database cannot be read
 */
export function* backupPieces(
  snapshot: Snapshot,
  origin: BackupOrigin,
  onProgress: OnProgress = () => {},
): Generator<FilePiece, Manifest> {
  const reader = new DatabaseReader(snapshot, snapshot.sizeBytes, onProgress);
  let position = 0;
  const place = (bytes: Uint8Array): FilePiece => {
    position += bytes.length;
    return { bytes, position: position - bytes.length };
  };
  const describing = describe(snapshot, origin);
  let described = describing.next();
  for (; !described.done; described = describing.next()) yield place(EMPTY);
  const description = described.value;
  const parts = planParts(snapshot.sizeBytes).map((part) => ({ ...part, sha256: NO_SHA256 }));
  position = encodeHead({ ...description, parts }).head.length;
  let start = 0;
  for (const part of parts) {
    const { name, bytes } = part;
    yield place(encodeHeader(name, bytes, mtimeOf(description)));
    const reading = reader.part(start, bytes);
    let next = reading.next();
    for (; !next.done; next = reading.next()) yield place(next.value);
    part.sha256 = next.value;
    yield place(new Uint8Array(paddingOf(bytes)));
    start += bytes;
  }
  yield place(new Uint8Array(END_BYTES));
  const { manifest, head } = encodeHead({ ...description, parts });
  yield { bytes: head, position: 0 };
  return manifest;
}

/** What a manifest says besides the parts. */
type Description = Omit<Manifest, 'sha256' | 'parts'>;

/** Finds out what a backup says about itself. Yields empty chunks, because the rows are counted. */
function* describe(
  snapshot: Snapshot,
  { version, takenAt, erasureKey }: BackupOrigin,
): Generator<Uint8Array, Description> {
  const scan = snapshot.contents();
  let scanned = scan.next();
  for (; !scanned.done; scanned = scan.next()) yield EMPTY;
  const { rows, ledger, newestId, schemaVersion } = scanned.value;
  return {
    format: 'rawlog-backup',
    format_version: 1,
    rawlog_version: version,
    created_at: new Date(takenAt).toISOString(),
    schema_version: schemaVersion,
    page_size: snapshot.pageSize,
    database_bytes: snapshot.sizeBytes,
    rows,
    ledger,
    newest_id: newestId,
    erasure_key: erasureKey ?? null,
  };
}

/** Returns a manifest with its checksum, and the beginning of the archive that contains it. */
function encodeHead(content: Omit<Manifest, 'sha256'>): { manifest: Manifest; head: Buffer } {
  const json = encodeManifest(content);
  const header = encodeHeader(MANIFEST_NAME, json.length, mtimeOf(content));
  const head = Buffer.concat([header, json, new Uint8Array(paddingOf(json.length))]);
  return { manifest: { ...content, sha256: JSON.parse(json.toString()).sha256 }, head };
}

/** Reads the parts of a database, and computes their checksums. */
class DatabaseReader {
  readonly #snapshot: Snapshot;
  readonly #total: number;
  readonly #onProgress: OnProgress;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  #done = 0;

  constructor(snapshot: Snapshot, total: number, onProgress: OnProgress) {
    this.#snapshot = snapshot;
    this.#total = total;
    this.#onProgress = onProgress;
  }

  /** Yields the chunks of a part, each valid only until the next one is requested. Returns its SHA-256. */
  *part(start: number, bytes: number): Generator<Uint8Array, string> {
    const hash = createHash('sha256');
    for (let at = 0; at < bytes; at += CHUNK_BYTES) {
      const chunk = this.#buffer.subarray(0, Math.min(CHUNK_BYTES, bytes - at));
      this.#snapshot.read(chunk, start + at);
      hash.update(chunk);
      yield chunk;
      this.#done += chunk.length;
      this.#onProgress(this.#done, this.#total);
    }
    return hash.digest('hex');
  }
}
