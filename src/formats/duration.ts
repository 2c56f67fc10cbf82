const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/**
 * Parses a duration such as `90s`, `5m`, `1h` or `7d`.
 *
 * @returns whole seconds
 * @throws {RangeError} if the text is malformed or the duration exceeds 100 years
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,10})([smhd])$/.exec(text);
  const seconds = match ? Number(match[1]) * SECONDS[match[2] as keyof typeof SECONDS] : Number.NaN;
  if (!(seconds <= 100 * 365 * SECONDS.d)) {
    throw new RangeError('should be a number followed by s, m, h or d, such as 90s or 1h, and at most 100 years');
  }
  return seconds;
}

/**
 * Parses a limit on durations such as `30d`, or `off`.
 *
 * @returns whole seconds; undefined for `off`
 * @throws {RangeError} if the text is malformed, or the duration is 0 or exceeds 100 years
 */
export function parseOptionalDuration(text: string): number | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const seconds = parseDuration(text);
  if (seconds === 0) throw new RangeError('should be above 0, or off');
  return seconds;
}

/**
 * Parses a threshold such as `250ms`, `1s` or `off`.
 *
 * @returns whole milliseconds; undefined for `off`
 * @throws {RangeError} if the text is malformed or the duration exceeds 100 years
 */
export function parseThreshold(text: string): number | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const milliseconds = /^(\d{1,10})ms$/.exec(text)?.[1];
  if (milliseconds !== undefined) return Number(milliseconds);
  try {
    return parseDuration(text) * 1000;
  } catch {
    throw new RangeError('should be off, or a number followed by ms, s, m, h or d, such as 250ms or 1s');
  }
}
