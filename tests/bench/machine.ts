import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

/*
 * The machine that the benchmarks run on. The server runs on one core and the load generator on another, so that
 * they do not compete for CPU time.
 */

const SERVER_CORE = '0';
const LOAD_CORE = '1';
/** Whether processes can be pinned to cores: needs taskset and at least two cores. */
export const isPinned = Bun.which('taskset') !== null && navigator.hardwareConcurrency > 1;

/** Returns a command that runs on the server's core, if processes can be pinned. */
export function pinToServerCore(command: readonly string[]): string[] {
  return isPinned ? ['taskset', '-c', SERVER_CORE, ...command] : [...command];
}

/** Returns a command that runs on the load generator's core, if processes can be pinned. */
export function pinToLoadCore(command: readonly string[]): string[] {
  return isPinned ? ['taskset', '-c', LOAD_CORE, ...command] : [...command];
}

/** Moves this process off the server's core. For benchmarks that do work while they measure, such as reading a log. */
export function leaveServerCore(): void {
  if (isPinned) Bun.spawnSync(['taskset', '-a', '-c', '-p', LOAD_CORE, String(process.pid)]);
}

/**
 * Returns the user and system time that a process has used, in seconds: fields 14 and 15 of /proc/PID/stat, in ticks
 * of 10 ms. Unlike the sum over its threads, it includes threads that have ended.
 */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * Returns the user and system time of a process and of its descendants, in seconds. It includes descendants that have
 * ended, if their parents have waited for them.
 */
export function treeSeconds(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const own = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0) / 100;
  return children.reduce((sum, child) => sum + (existsSync(`/proc/${child}`) ? treeSeconds(child) : 0), own);
}

/** Returns the time for which the main thread of a process has run, in seconds. */
export function mainThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
}

/** Returns the time for which each thread of a process has run, in seconds, by the thread's ID. */
export function threadsSeconds(pid: number): Map<string, number> {
  const folder = `/proc/${pid}/task`;
  return new Map(
    readdirSync(folder).map((thread) => [
      thread,
      Number(readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9,
    ]),
  );
}

/** Returns the resident memory of a process, in megabytes. */
export function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** Returns the peak resident memory of a process, in megabytes. */
export function peakResidentMegabytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/**
 * Returns the time for which the threads of a process with this name have run, in seconds. The query worker's is
 * "Worker".
 */
export function threadSeconds(pid: number, name: string): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder)
    .filter((thread) => readFileSync(`${folder}/${thread}/comm`, 'utf8').trim() === name)
    .reduce(
      (sum, thread) => sum + Number(readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9,
      0,
    );
}

/** Drops the page cache of all files. Returns false if that is not possible: only root on Linux can. */
export function dropPageCache(): boolean {
  try {
    Bun.spawnSync(['sync']);
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false;
  }
}
