import { readFileSync } from 'node:fs';

/*
 * The machine that is measured on: the server has one core, what loads it another, so that they do not
 * take turns.
 */

const SERVER_CORE = '0';
const LOAD_CORE = '1';
const pinned = Bun.which('taskset') !== null && navigator.hardwareConcurrency > 1;

/** A command that runs on the server's core, where cores can be chosen. */
export function onServerCore(command: readonly string[]): string[] {
  return pinned ? ['taskset', '-c', SERVER_CORE, ...command] : [...command];
}

/** A command that runs on the other core, where cores can be chosen. */
export function onLoadCore(command: readonly string[]): string[] {
  return pinned ? ['taskset', '-c', LOAD_CORE, ...command] : [...command];
}

/** Moves this process off the server's core: where it has work to do while it measures, such as reading a log. */
export function leaveServerCore(): void {
  if (pinned) Bun.spawnSync(['taskset', '-a', '-c', '-p', LOAD_CORE, String(process.pid)]);
}

/** User and system time of a process so far, in seconds: fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process, in megabytes. */
export function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** The largest resident memory that a process has had, in megabytes. */
export function peakResidentMegabytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}
