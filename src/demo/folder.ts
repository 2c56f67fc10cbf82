import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDurableFolder } from '../durable-folder.ts';
import { readFreeBytes } from '../free-bytes.ts';
import { isLocked } from '../storage/database.ts';

/** The file that marks a folder as one of demo data, which may be deleted. */
const MARKER = 'rawlog-demo';
/** What the demo needs on the disk, in bytes: about 40 MB are written. */
export const DEMO_BYTES = 128 * 1024 ** 2;

/** Returns the database in a folder of demo data. */
export function demoDatabaseOf(folder: string): string {
  return join(folder, 'rawlog.db');
}

/** Returns the folder of demo data in a data folder. It never is the data folder itself. */
export function demoFolderOf(dataDir: string): string {
  return join(dataDir, 'demo');
}

/**
 * Creates an empty folder for demo data. Deletes earlier demo data, and nothing else.
 *
 * @param minFreeBytes space that must remain free on the disk
 * @throws {Error} if the folder has other files, or too little space is free
 */
export function makeDemoFolder(folder: string, minFreeBytes: number): void {
  removeDemoFolder(folder);
  makeDurableFolder(folder, { isOurs: true });
  if (readFreeBytes(folder) < minFreeBytes + DEMO_BYTES) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      `Demo data needs ${DEMO_BYTES / 1024 ** 2} MB of free disk space beyond MIN_FREE_BYTES, which ${folder} does not have.`,
    );
  }
  writeFileSync(
    join(folder, MARKER),
    'The data in this folder is invented. rawlog deletes it at the next start of the demo.\n',
  );
}

/**
 * Deletes a folder of demo data, if there is one.
 *
 * @throws {Error} if it is not a folder of demo data, or a demo is running in it
 */
export function removeDemoFolder(folder: string): void {
  if (!existsSync(folder)) return;
  if (readdirSync(folder).length > 0 && !existsSync(join(folder, MARKER))) {
    throw new Error(`${folder} was not made by the demo, so it is kept. Set DATA_DIR to another folder.`);
  }
  if (isLocked(demoDatabaseOf(folder))) {
    throw new Error(`A demo is running in ${folder}. Stop it first, or set DATA_DIR to another folder.`);
  }
  rmSync(folder, { recursive: true, force: true });
}
