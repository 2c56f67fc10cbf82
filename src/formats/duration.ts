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
