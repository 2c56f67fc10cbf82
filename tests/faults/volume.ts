import { dlopen, FFIType, ptr } from 'bun:ffi';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/*
 * File systems of a test's own, on which disks fill up and fail for real. They need root on Linux.
 */

/** EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h), and its flag to drop what is not on the disk yet. */
const SHUTDOWN = 0x8004587d;
const WITHOUT_LOG_FLUSH = 2;

function run(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
}

/** Why such file systems cannot be had here, or undefined when they can. */
export const noVolumes: string | undefined = (() => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    using volume = loopVolume();
    return volume.path ? undefined : 'no path';
  } catch (error) {
    return `cannot mount here (${(error as Error).message.trim()})`;
  }
})();

/** A file system in memory, of a few megabytes. */
export function smallVolume(bytes: number): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'rawlog-small-'));
  run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path);
  return {
    path,
    [Symbol.dispose]() {
      run('umount', '-l', path);
      rmSync(path, { recursive: true });
    },
  };
}

/** An ext4 file system on a file. */
export interface LoopVolume extends Disposable {
  readonly path: string;
  /** Stops all writing at once, and forgets what has not reached the disk: every later write is an I/O error. */
  cutPower(): void;
  /** Mounts it anew, as after a restart of the machine. */
  remount(): void;
}

/** Makes an ext4 file system on a loop device. */
export function loopVolume(): LoopVolume {
  const folder = mkdtempSync(join(tmpdir(), 'rawlog-disk-'));
  const image = join(folder, 'image');
  const path = join(folder, 'mount');
  mkdirSync(path);
  run('truncate', '-s', '512M', image);
  run('mkfs.ext4', '-q', '-F', image);
  const mount = () => run('mount', '-o', 'loop', image, path);
  mount();
  return {
    path,
    cutPower() {
      const { symbols, close } = dlopen('libc.so.6', {
        ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
      });
      const handle = openSync(path, 'r');
      const result = symbols.ioctl(handle, BigInt(SHUTDOWN), ptr(new Uint32Array([WITHOUT_LOG_FLUSH])));
      closeSync(handle);
      close();
      if (result !== 0) throw new Error('the file system could not be shut down');
    },
    remount() {
      run('umount', path);
      mount();
    },
    [Symbol.dispose]() {
      run('umount', '-l', path);
      rmSync(folder, { recursive: true });
    },
  };
}
