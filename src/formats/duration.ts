const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/**
 * Reads a duration such as `90s`, `5m`, `1h` or `7d`.
 *
 * @returns whole seconds
 * @throws {RangeError} when the text has another form, or is longer than 100 years
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,10})([smhd])$/.exec(text);
  const seconds = match ? Number(match[1]) * SECONDS[match[2] as keyof typeof SECONDS] : Number.NaN;
  if (!(seconds <= 100 * 365 * SECONDS.d)) {
    throw new RangeError('should be a number with s, m, h or d behind it, such as 90s or 1h');
  }
  return seconds;
}
