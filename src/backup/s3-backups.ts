import { parseS3Prefix, type S3Access, s3UrlOf } from '../formats/s3.ts';
import { openObjectStore } from '../object-store.ts';
import { readBackup } from './read.ts';
import { type BackupStore, backupNameOf, backupsAmong } from './stored-backup.ts';
import { backupContent } from './write.ts';

/**
 * Opens the prefix of scheduled backups in S3. Objects cannot be renamed, so a backup has its name as soon as it is
 * uploaded completely. If it is then read back differently, it is deleted.
 */
export function openS3Backups(url: string, access: S3Access): BackupStore {
  const { bucket, key: prefix } = parseS3Prefix(url);
  const store = openObjectStore(bucket, access);
  return {
    async list() {
      const names: string[] = [];
      for await (const { key } of store.list(prefix)) names.push(key.slice(prefix.length));
      return backupsAmong(names, (name) => s3UrlOf({ bucket, key: prefix + name }));
    },
    async store(snapshot, origin, space, check) {
      const key = prefix + backupNameOf(origin.takenAt);
      const content = checkedContent(backupContent(snapshot, origin), () => {
        check();
        space.check();
      });
      await store.upload(key, content, { sizeBytes: snapshot.sizeBytes, overwrite: false });
      snapshot.close();
      try {
        const uploaded = await store.find(key);
        await readBackup(store.read(uploaded ?? { key, bytes: 0 }), { onBytes: check });
      } catch (error) {
        await store.remove(key).catch(() => {}); // what is wrong with the backup matters more
        throw error;
      }
      return { path: s3UrlOf({ bucket, key }), takenAt: Math.floor(origin.takenAt / 1000) * 1000 };
    },
    async remove({ path }) {
      await store.remove(path.slice(s3UrlOf({ bucket, key: '' }).length));
    },
  };
}

/**
 * Yields the bytes of a backup for an upload. The event loop runs after each chunk.
 *
 * @param content the chunks; empty ones are skipped
 * @param check called after each chunk; throws to cancel
 */
export async function* checkedContent(
  content: Iterable<Uint8Array>,
  check: () => void | Promise<void>,
): AsyncGenerator<Uint8Array> {
  for (const bytes of content) {
    await check();
    if (bytes.length > 0) yield bytes;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
