import fs from 'node:fs';
import { dirname } from 'node:path';
import { catchSignals, InterruptedError } from '../durable-file.ts';
import { chownToFolderOwner } from '../file-owner.ts';
import { diskFullMessage, isFullError, reasonOf } from '../system-error.ts';
import type { Manifest } from './manifest.ts';
import { readBackup } from './read.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;

/** Offset in the database header of the two bytes that say whether the file is in WAL mode. */
const MODE_OFFSET = 18;
/** The bytes of a file that is not in WAL mode (https://www.sqlite.org/fileformat2.html#file_format_version_numbers). */
const ROLLBACK_MODE = Uint8Array.of(1, 1);

/**
 * Checks a backup and extracts its database into a new file that only its owner can read. The file is durable when the
 * promise resolves. After an error or a signal it is removed.
 *
 * The extracted file differs from the backup in two bytes: like every database that no process has open, it is not in
 * WAL mode, so SQLite opens it without a write-ahead log.
 *
 * @param source the bytes of the backup
 * @param path the file to create
 * @param onBytes called with the number of bytes of the backup read so far
 * @throws {DamagedBackupError} if the backup is damaged
 * @throws {InterruptedError} after SIGINT, SIGTERM, SIGQUIT or SIGHUP
 */
export async function extractDatabase(
  source: AsyncIterable<Uint8Array>,
  path: string,
  onBytes: (total: number) => void,
): Promise<Manifest> {
  using signals = catchSignals();
  const file = createFile(path);
  try {
    chownToFolderOwner(file, dirname(path));
    const onData = (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(file, bytes, at);
    };
    const manifest = await readBackup(untilSignal(source, signals), { onData, onBytes });
    if (manifest.database_bytes > 0) fs.writeSync(file, ROLLBACK_MODE, 0, ROLLBACK_MODE.length, MODE_OFFSET);
    fs.fsyncSync(file);
    await signals.check();
    return manifest;
  } catch (error) {
    fs.rmSync(path, { force: true });
    if (isFullError(error)) throw new Error(diskFullMessage(path), { cause: error });
    throw error;
  } finally {
    fs.closeSync(file);
  }
}

function createFile(path: string): number {
  try {
    return fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    const message = `The temporary file ${path} cannot be created: ${reasonOf(error, path)} Set TMPDIR to a folder with enough space for the database.`;
    throw new Error(message, { cause: error });
  }
}

/** Yields the chunks of a source until a signal is received. A source that keeps it waiting, such as S3, is abandoned. */
async function* untilSignal(
  source: AsyncIterable<Uint8Array>,
  signals: ReturnType<typeof catchSignals>,
): AsyncGenerator<Uint8Array> {
  const interrupted = signals.received.then((signal): never => {
    throw new InterruptedError(signal);
  });
  interrupted.catch(() => {}); // also reported by the check between the chunks
  const chunks = source[Symbol.asyncIterator]();
  let chunk = await Promise.race([chunks.next(), interrupted]);
  while (!chunk.done) {
    yield chunk.value;
    await signals.check();
    chunk = await Promise.race([chunks.next(), interrupted]);
  }
}
