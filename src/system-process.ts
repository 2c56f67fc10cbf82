import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';

/*
 * Other processes on this machine, for messages to the operator. Everything is read from /proc, and is unknown where that
 * is missing, or for processes of other users that this one may not inspect.
 */

/** Longest command that is shown, in characters. */
const MAX_COMMAND_LENGTH = 80;
/** The state of a listening socket in `/proc/net/tcp`: TCP_LISTEN in the kernel's include/net/tcp_states.h. */
const TCP_LISTEN = '0A';

/**
 * Returns the process that holds a lock on a file, as fcntl and SQLite lock it; undefined if unknown. The file is not
 * opened, because closing it would drop this process's own locks.
 */
export function lockHolder(path: string): number | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    const file = `${deviceNumbers(dev)}:${ino}`;
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      // for example "1: POSIX  ADVISORY  WRITE 435 fe:00:5333191 121 121"
      const [, kind, , , pid, lockedFile] = line.trim().split(/\s+/);
      // the ID is 0 if the process is in another namespace
      if (kind === 'POSIX' && lockedFile === file && Number(pid) > 0) return Number(pid);
    }
  } catch {
    // unknown
  }
  return undefined;
}

/** Returns the process that listens on a TCP port; undefined if unknown. */
export function listenerOn(port: number): number | undefined {
  const sockets = new Set(['tcp', 'tcp6'].flatMap((protocol) => listeners(protocol, port)).map(socketOf));
  if (sockets.size === 0) return undefined;
  return processIds().find((pid) => descriptorsOf(pid).some((target) => sockets.has(target)));
}

/** Returns another process that listens on the same address and TCP port as this one; undefined if there is none. */
export function otherListenerOn(port: number): number | undefined {
  const own = new Set(descriptorsOf(process.pid));
  const all = ['tcp', 'tcp6'].flatMap((protocol) => listeners(protocol, port));
  const addresses = new Set(all.filter(({ socket }) => own.has(socket)).map(({ local }) => local));
  const others = new Set(all.filter(({ local, socket }) => addresses.has(local) && !own.has(socket)).map(socketOf));
  if (others.size === 0) return undefined;
  return processIds().find((pid) => descriptorsOf(pid).some((target) => others.has(target)));
}

/** Returns a process as a phrase such as "process 123 (rawlog serve)", or "another process" if it is unknown. */
export function describeProcess(pid: number | undefined): string {
  if (pid === undefined) return 'another process';
  const command = commandOf(pid);
  return command === undefined ? `process ${pid}` : `process ${pid} (${command})`;
}

/**
 * Returns the command of a process without its flags, whose values may be secrets. Control characters, which could change
 * what a terminal shows, are removed.
 */
function commandOf(pid: number): string | undefined {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const end = args.findIndex((arg, i) => i > 0 && (arg === '' || arg.startsWith('-') || /=|:\/\//.test(arg)));
    const [program = '', ...rest] = args.slice(0, end < 0 ? undefined : end);
    const command = [basename(program), ...rest].join(' ');
    return command.replace(/[\p{C}\u2028\u2029]/gu, '').slice(0, MAX_COMMAND_LENGTH) || undefined;
  } catch {
    return undefined;
  }
}

/** Returns the numbers of a device as in `/proc/locks`, in hexadecimal: see the macros major(3) and minor(3). */
function deviceNumbers(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return [major, minor].map((number) => number.toString(16).padStart(2, '0')).join(':');
}

/** A socket that listens. */
interface Listening {
  /** The address and port, as in `/proc/net/tcp`. */
  readonly local: string;
  /** The target of its link in `/proc/PID/fd`. */
  readonly socket: string;
}

const socketOf = ({ socket }: Listening) => socket;

/** Returns the sockets that listen on a port. */
function listeners(protocol: string, port: number): Listening[] {
  try {
    const [, ...lines] = readFileSync(`/proc/net/${protocol}`, 'utf8').trim().split('\n');
    return lines.flatMap((line) => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      const isFound = state === TCP_LISTEN && Number.parseInt(local.split(':')[1] ?? '', 16) === port;
      return isFound ? [{ local, socket: `socket:[${inode}]` }] : [];
    });
  } catch {
    return [];
  }
}

function processIds(): number[] {
  try {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? Number(name) : []));
  } catch {
    return [];
  }
}

function descriptorsOf(pid: number): string[] {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).flatMap((name) => {
      try {
        return readlinkSync(`${folder}/${name}`);
      } catch {
        return []; // closed meanwhile
      }
    });
  } catch {
    return []; // another user's process, or it has ended
  }
}
