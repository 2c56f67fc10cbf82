import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { makeDurableFolder } from '../durable-folder.ts';
import { reasonOf } from '../system-error.ts';

/*
 * Where the control socket is. It belongs to a database, like the lock that permits only one server per database: the
 * folder `control` next to the database contains one socket per database, named after it. Only the owner and root can
 * reach it, because a folder without access for others protects a socket on every system.
 */

/** Longest path that fits into the address of a Unix socket on Linux, in bytes. */
const MAX_SOCKET_PATH_BYTES = 107;
/** Mode bits that give other users access. */
const ACCESSIBLE_BY_OTHERS = 0o077;

/** Returns the path of the control socket of a database, whose symbolic links must be resolved. */
export function controlSocketPath(databasePath: string): string {
  return join(dirname(databasePath), 'control', `${basename(databasePath)}.sock`);
}

/** The address of a socket, which may be longer than the system allows. Valid until it is disposed. */
export interface SocketAddress extends Disposable {
  readonly path: string;
}

/**
 * Returns an address to bind or to connect to. A path that is too long leads through the open folder in `/proc`.
 *
 * @throws if the folder cannot be opened
 */
export function openSocketAddress(socketPath: string): SocketAddress {
  if (Buffer.byteLength(socketPath) <= MAX_SOCKET_PATH_BYTES) return { path: socketPath, [Symbol.dispose]() {} };
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
  const folder = fs.openSync(dirname(socketPath), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return {
    path: `/proc/self/fd/${folder}/${basename(socketPath)}`,
    [Symbol.dispose]: () => fs.closeSync(folder),
  };
}

/**
 * Creates the folder of a socket, accessible only to this user and root.
 *
 * @throws {Error} with a message for the operator, if it cannot be created or belongs to another user
 */
export function createSocketFolder(socketPath: string): void {
  const folder = dirname(socketPath);
  makeDurableFolder(folder, { isOurs: true });
  const problem = ownerProblem(folder);
  if (problem) throw new Error(problem);
  try {
    if ((fs.statSync(folder).mode & 0o777) !== 0o700) fs.chmodSync(folder, 0o700);
  } catch (error) {
    throw new Error(`${folder} cannot be protected: ${reasonOf(error, folder)}`, { cause: error });
  }
}

/**
 * Returns why the folder of a socket does not protect it, and what to do; undefined if it does. Another user could then
 * have created the socket, and would receive what is sent to it.
 */
export function untrustedFolderProblem(socketPath: string): string | undefined {
  const folder = dirname(socketPath);
  const stat = fs.lstatSync(folder);
  const problem = ownerProblem(folder);
  if (problem) return problem;
  if ((stat.mode & ACCESSIBLE_BY_OTHERS) === 0) return undefined;
  return `${folder} is accessible to other users, who could replace the socket in it. Run: chmod 700 ${folder}`;
}

/** Returns why a folder is not this user's own; undefined if it is. Root also trusts the owner of the data. */
function ownerProblem(folder: string): string | undefined {
  const stat = fs.lstatSync(folder);
  if (!stat.isDirectory()) return `${folder} is not a folder. Move it away, then restart the server.`;
  const user = process.geteuid?.();
  const trusted = user === 0 ? [0, fs.statSync(dirname(folder)).uid] : [0, user];
  if (user === undefined || trusted.includes(stat.uid)) return undefined;
  return `${folder} belongs to user ${stat.uid}, but rawlog runs as user ${user}. Change its owner as root: chown ${user} ${folder}`;
}
