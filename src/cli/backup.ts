import { dirname } from 'node:path';
import { SingleBar } from 'cli-progress';
import { version } from '../../package.json' with { type: 'json' };
import { guardSpace } from '../backup/free-space.ts';
import type { Manifest } from '../backup/manifest.ts';
import { checkedContent } from '../backup/s3-backups.ts';
import { type BackupOrigin, backupContent, backupPieces, type OnProgress } from '../backup/write.ts';
import { catchSignals, InterruptedError, replaceFile, writeStandardOutput } from '../durable-file.ts';
import { isS3Url, parseS3Object, type S3Access } from '../formats/s3.ts';
import { openObjectStore } from '../object-store.ts';
import { erasureKeyPath, fingerprintOf, readErasureKey } from '../storage/erasure-list.ts';
import { openSnapshot } from '../storage/snapshot.ts';
import { lowerPriority } from '../thread-priority.ts';
import { DATABASE_SETTINGS, defineCommand, flag, JSON_OPTION, UsageError } from './command.ts';
import { assertDatabase } from './open-database.ts';
import { countOf, isTerminal, print, report } from './output.ts';
import { protectedFiles } from './protected-files.ts';
import { S3_SETTINGS, s3AccessFor, s3Problem } from './s3.ts';

/** The command that backs up the database. */
export const backupCommand = defineCommand({
  name: 'backup',
  summary: 'Back up the database to a file or to S3; the server may be running',
  settings: [...DATABASE_SETTINGS, 'MIN_FREE_BYTES', ...S3_SETTINGS],
  examples: [
    { purpose: 'Back up ./data/rawlog.db', commandLine: 'rawlog backup backup.tar' },
    { purpose: 'Back up to a bucket', commandLine: 'rawlog backup s3://my-bucket/rawlog/backup.tar' },
    {
      purpose: 'Copy a backup to another machine without storing it on this one',
      commandLine: 'rawlog backup - | ssh backups.example.com "cat > rawlog.tar"',
    },
  ],
  argument: {
    form: '<file>',
    help: 'file to create once the backup is complete, or s3://BUCKET/NAME; - for standard output',
    check: s3Problem,
  },
  options: {
    force: flag('replace the file or object if it exists'),
    json: JSON_OPTION,
  },
  async run({ config: loadConfig }, { force = false, json = false }, file) {
    const config = loadConfig();
    const { databasePath } = config;
    if (file === '-' && isTerminal())
      throw new UsageError('A backup is binary: specify a file, or redirect the output');
    const s3 = s3AccessFor(file, config);
    assertDatabase(databasePath);
    lowerPriority(); // a server on the same machine takes precedence
    const key = readErasureKey(databasePath);
    const bar = new SingleBar({ format: '{bar} {percentage}% | {eta_formatted}', stream: process.stderr });
    const snapshot = await openSnapshot(databasePath);
    const space = guardSpace(databasePath, config.minFreeBytes);
    let manifest: Manifest | undefined;
    const origin: BackupOrigin = { version, takenAt: Date.now(), erasureKey: key && fingerprintOf(key) };
    const onProgress: OnProgress = (done, total) => {
      space.check();
      bar.setTotal(total);
      bar.update(done);
    };
    function* content<Piece>(pieces: Generator<Piece, Manifest>): Generator<Piece> {
      if (file !== '-' && !isS3Url(file)) space.assertRoomFor(dirname(file), snapshot.sizeBytes);
      manifest = yield* pieces;
      snapshot.close(); // before the file is synced, which can take long
    }
    try {
      bar.start(snapshot.sizeBytes, 0);
      if (file === '-') {
        const bytes = content(backupContent(snapshot, origin, onProgress));
        await writeStandardOutput(bytes, protectedFiles(config), { catchesSignals: true });
      } else if (isS3Url(file)) {
        await upload(file, s3, snapshot.sizeBytes, content(backupContent(snapshot, origin, onProgress)), force);
      } else {
        const pieces = content(backupPieces(snapshot, origin, onProgress));
        await replaceFile(file, pieces, protectedFiles(config), { overwrite: force, followLinks: false });
      }
    } finally {
      bar.stop();
      snapshot.close();
    }
    if (!manifest) throw new Error('Standard output was closed before the backup was complete.');
    if (file !== '-') print(json ? jsonOf(file, manifest) : summaryOf(file, manifest));
    if (key) {
      report(
        `The backup does not contain ${erasureKeyPath(databasePath)}. Keep a copy of that file on another machine: without it, a restore cannot erase again the users who were erased after the backup.`,
      );
    }
    return 0;
  },
});

/**
 * Uploads a backup to S3.
 *
 * @param content its chunks, which watch the free space themselves
 * @throws {InterruptedError} after a signal
 */
async function upload(
  file: string,
  s3: S3Access,
  sizeBytes: number,
  content: Iterable<Uint8Array>,
  overwrite: boolean,
): Promise<void> {
  using signals = catchSignals();
  const { bucket, key } = parseS3Object(file);
  const chunks = checkedContent(content, signals.check);
  const interrupted = signals.received.then((signal): never => {
    throw new InterruptedError(signal);
  });
  await openObjectStore(bucket, s3).upload(key, chunks, { sizeBytes, overwrite, interrupted });
}

function jsonOf(file: string, { created_at, database_bytes, rows, newest_id, parts }: Manifest): string {
  return JSON.stringify({ file, created_at, database_bytes, rows, newest_id, parts: parts.length });
}

function summaryOf(file: string, { rows, database_bytes }: Manifest): string {
  return `${file}: ${countOf(rows.metrics, 'metric')} and ${countOf(rows.analytics, 'event')}, ${database_bytes} bytes.`;
}
