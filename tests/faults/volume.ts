import { dlopen, FFIType, ptr } from 'bun:ffi';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/*
 * Temporary file systems, on which disks really fill up and fail. Requires root on Linux.
 */

/** EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h), and its flag that discards everything not yet on disk. */
const SHUTDOWN = 0x8004587d;
const WITHOUT_LOG_FLUSH = 2;

function run(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
}

/** The reason why these file systems cannot be created here; undefined if they can. */
export const noVolumes: string | undefined = (() => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    using volume = loopVolume();
    return volume.path ? undefined : 'no mount path';
  } catch (error) {
    return `cannot mount a loop device (${(error as Error).message.trim()})`;
  }
})();

/** Mounts an in-memory file system of a given size. */
export function smallVolume(sizeBytes: number): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'rawlog-small-'));
  run('mount', '-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', path);
  return {
    path,
    [Symbol.dispose]() {
      run('umount', '-l', path);
      rmSync(path, { recursive: true });
    },
  };
}

/** An ext4 file system on a loop device. */
export interface LoopVolume extends Disposable {
  readonly path: string;
  /** Discards everything not yet on disk. Every later write fails with an I/O error. */
  cutPower(): void;
  /** Mounts it again, as after a reboot. */
  remount(): void;
}

/**
 * Creates and mounts an ext4 file system on a loop device.
 *
 * @param parent the folder of its image. In /dev/shm, an fsync takes less than half a millisecond
 */
export function loopVolume(parent = tmpdir(), sizeBytes = 512 * 1024 ** 2): LoopVolume {
  const folder = mkdtempSync(join(parent, 'rawlog-disk-'));
  const image = join(folder, 'image');
  const path = join(folder, 'mount');
  mkdirSync(path);
  run('truncate', '-s', String(sizeBytes), image);
  run('mkfs.ext4', '-q', '-F', image);
  let copies = 0;
  const mount = (disk: string) => run('mount', '-o', 'loop', disk, path);
  mount(image);
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
      if (result !== 0) throw new Error('EXT4_IOC_SHUTDOWN failed');
    },
    remount() {
      run('umount', path);
      // A copy of the disk, because the namespace of another process may still have the file system mounted: the device of
      // the same image would be used again, and with it the file system that has lost its power.
      const copy = `${image}-${++copies}`;
      run('cp', '--sparse=always', copies === 1 ? image : `${image}-${copies - 1}`, copy);
      mount(copy);
    },
    [Symbol.dispose]() {
      run('umount', '-l', path);
      rmSync(folder, { recursive: true });
    },
  };
}
