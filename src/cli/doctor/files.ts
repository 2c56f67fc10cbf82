import { type Stats, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../../config.ts';
import { type ConfigSources, FILE_SETTING_NAMES, flagOf } from '../../settings.ts';
import { erasureKeyPath } from '../../storage/erasure-list.ts';
import { WAL_SIZE_LIMIT_BYTES, walPath } from '../../storage/wal.ts';
import { sizeText } from '../units.ts';
import { type Finding, problemsOf } from './finding.ts';

/**
 * Free space below which the disk is a problem even if MIN_FREE_BYTES is lower, in bytes: about an hour of recording 2,000
 * rows per second.
 */
const LOW_SPACE_BYTES = 1e9;
/** Size of the write-ahead log from which it is a problem, in bytes: far more than a long query needs. */
const LARGE_WAL_BYTES = 16 * WAL_SIZE_LIMIT_BYTES;
const WRITABLE_BY_OTHERS = 0o022;
const ACCESSIBLE_BY_OTHERS = 0o077;
const READABLE_BY_ALL = 0o004;
/** Types of network file systems, from statfs(2). */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
  16914839: '9p',
};

/** Checks the owners and modes of the folders and of the secrets in them. */
export function checkPermissions({ dataDir, databasePath }: Config): Finding[] {
  const problem = problemsOf('permissions');
  const findings: Finding[] = [];
  const folders = [...new Set([dataDir, dirname(databasePath)])];
  for (const folder of folders) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    if (!stat) continue;
    if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
      findings.push(
        problem(
          'Other users of the machine can write to the data folder, and could replace the secrets in it.',
          'Run "chmod go-w" on the folder.',
          folder,
        ),
      );
    }
    if (!isOwnedByUs(stat)) findings.push(foreignOwner('The data folder', folder, stat.uid));
  }
  for (const path of [join(dataDir, 'jwt-secret'), erasureKeyPath(databasePath)]) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) continue;
    if ((stat.mode & ACCESSIBLE_BY_OTHERS) !== 0) {
      findings.push(
        problem('Other users of the machine have access to a secret.', 'Run "chmod 600" on the file.', path),
      );
    }
    const owner = statSync(dirname(path)).uid;
    if (!isOwnedByUs(stat) && stat.uid !== owner) findings.push(foreignOwner('A secret', path, stat.uid));
  }
  return findings;
}

/** Checks the modes of the files that secrets are read from. */
export function checkSecretFiles({ flags, env }: ConfigSources): Finding[] {
  const problem = problemsOf('secret-files');
  return FILE_SETTING_NAMES.flatMap((name) => {
    const path = flags[name] ?? env[name];
    const stat = path ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (!stat || (stat.mode & (READABLE_BY_ALL | WRITABLE_BY_OTHERS)) === 0) return [];
    return problem(
      `Other users of the machine can read or change the file of ${name} (${flagOf(name)}).`,
      'Run "chmod 600" on the file, as its owner.',
      path,
    );
  });
}

/** Checks the space on the disk of the database, its file system, and the size of the write-ahead log. */
export function checkDisk({ databasePath, minFreeBytes }: Config): Finding[] {
  const folder = dirname(databasePath);
  if (!statSync(folder, { throwIfNoEntry: false })) return [];
  const findings: Finding[] = [];
  const { bavail, blocks, bsize, files, ffree, type } = statfsSync(folder);
  const [free, total] = [bavail * bsize, blocks * bsize];
  if (free < Math.max(LOW_SPACE_BYTES, minFreeBytes)) {
    findings.push(
      problemsOf('disk-space')(
        `The disk of the database has ${sizeText(free)} of ${sizeText(total)} free. Below MIN_FREE_BYTES (${sizeText(minFreeBytes)}), recording stops.`,
        'Free space on the disk, or move the data folder to a larger one while the server is stopped.',
        folder,
      ),
    );
  }
  if (files > 0 && ffree === 0) {
    findings.push(
      problemsOf('disk-space')('The disk of the database has no inodes left.', 'Delete files from the disk.', folder),
    );
  }
  const network = NETWORK_FILE_SYSTEMS[type];
  if (network) {
    findings.push(
      problemsOf('file-system')(
        `The database is on a network file system (${network}). SQLite's locks do not work reliably there.`,
        'Move the data folder to a local disk while the server is stopped.',
        folder,
      ),
    );
  }
  const walBytes = statSync(walPath(databasePath), { throwIfNoEntry: false })?.size ?? 0;
  if (walBytes > LARGE_WAL_BYTES) {
    findings.push(
      problemsOf('wal-size')(
        `The write-ahead log has ${sizeText(walBytes)}. It grows while another process reads an old snapshot of the database.`,
        'Look for a long export, verification or sqlite3 session, and end it. The server then shrinks the log.',
        walPath(databasePath),
      ),
    );
  }
  return findings;
}

/** Reminds of the copy of the key without which erased users reappear. */
export function remindOfErasureKey({ databasePath }: Config): Finding[] {
  const path = erasureKeyPath(databasePath);
  if (!statSync(path, { throwIfNoEntry: false })) return [];
  return [
    {
      check: 'erasure-key',
      level: 'reminder',
      summary: 'Without the erasure key, restored and imported rows of erased users cannot be recognized.',
      remedy: 'Keep a copy of the key away from this machine and from its backups.',
      detail: path,
    },
  ];
}

/** Returns whether a file belongs to this user or to root. Root works in the folders of services, so it owns them all. */
function isOwnedByUs({ uid }: Stats): boolean {
  const user = process.geteuid?.();
  return user === undefined || user === 0 || uid === user || uid === 0;
}

function foreignOwner(what: string, path: string, uid: number): Finding {
  return problemsOf('permissions')(
    `${what} belongs to another user than the one that runs this command.`,
    'Run commands as the user of the server, or change the owner with "chown", as root.',
    `${path} belongs to user ${uid}`,
  );
}
