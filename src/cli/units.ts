import { countOf } from './output.ts';

/** Returns a number of bytes as the operator reads it, such as "1.5 GB". */
export function sizeText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** Returns a duration as the operator reads it, such as "3 minutes". */
export function durationText(seconds: number): string {
  for (const [unit, size] of [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ] as const) {
    if (seconds >= size) return countOf(Math.round(seconds / size), unit);
  }
  return countOf(Math.round(seconds), 'second');
}
