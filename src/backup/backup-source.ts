import { isS3Url, parseS3Object, type S3Access } from '../formats/s3.ts';
import { openObjectStore } from '../object-store.ts';
import { readFileChunks } from './file-source.ts';

/** A backup to read. */
export interface BackupSource {
  /** The chunks, each valid only until the next one is requested. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly sizeBytes: number;
}

/**
 * Opens a backup: a file, or an object in S3.
 *
 * @param file a path or an s3:// address
 * @throws {Error} with a message for the operator, here or when the bytes are read
 */
export async function openBackupSource(file: string, s3: S3Access): Promise<BackupSource> {
  if (!isS3Url(file)) return { bytes: readFileChunks(file), sizeBytes: Bun.file(file).size };
  const { bucket, key } = parseS3Object(file);
  const store = openObjectStore(bucket, s3);
  const found = await store.find(key);
  if (!found) throw new Error(`There is no object ${file}.`);
  return { bytes: store.read(found), sizeBytes: found.bytes };
}
