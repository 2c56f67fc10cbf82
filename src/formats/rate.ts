const SECONDS = { s: 1, m: 60, h: 3600 } as const;

/** An amount per time window. */
export interface Rate {
  readonly amount: number;
  /** In seconds. */
  readonly window: number;
}

/**
 * Parses a rate such as `1000/s`, `600/m` or `10000/h`.
 *
 * @returns undefined for `off`
 * @throws {RangeError} if the text is malformed or the amount is 0
 */
export function parseRate(text: string): Rate | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const match = /^(\d{1,12})\/([smh])$/.exec(text);
  const amount = Number(match?.[1]);
  if (!(amount > 0))
    throw new RangeError('should be off, or a positive number followed by /s, /m or /h, such as 1000/s');
  return { amount, window: SECONDS[match?.[2] as keyof typeof SECONDS] };
}

const BYTES = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const;

/**
 * Parses a byte rate such as `1mb/s`, `500kb/s` or `10gb/h`. One kb is 1,024 bytes.
 *
 * @returns undefined for `off`
 * @throws {RangeError} if the text is malformed or the amount is 0
 */
export function parseByteRate(text: string): Rate | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const [, digits, unit, window] = /^(\d{1,9})(b|kb|mb|gb)\/([smh])$/i.exec(text) ?? [];
  const amount = Number(digits) * BYTES[unit?.toLowerCase() as keyof typeof BYTES];
  if (!(amount > 0)) {
    throw new RangeError('should be off, or a size in b, kb, mb or gb followed by /s, /m or /h, such as 1mb/s');
  }
  return { amount, window: SECONDS[window?.toLowerCase() as keyof typeof SECONDS] };
}
