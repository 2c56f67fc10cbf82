const SECONDS = { s: 1, m: 60, h: 3600 } as const;

/** So much in so many seconds. */
export interface Rate {
  readonly amount: number;
  /** Seconds. */
  readonly window: number;
}

/**
 * Reads a rate such as `1000/s`, `600/m` or `10000/h`; `off` is none.
 *
 * @throws {RangeError} when the text has another form, or the amount is 0
 */
export function parseRate(text: string): Rate | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const match = /^(\d{1,12})\/([smh])$/.exec(text);
  const amount = Number(match?.[1]);
  if (!(amount > 0))
    throw new RangeError('should be a number above 0 with /s, /m or /h behind it, such as 1000/s, or off');
  return { amount, window: SECONDS[match?.[2] as keyof typeof SECONDS] };
}

const BYTES = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const;

/**
 * Parses a rate of bytes such as `1mb/s`, `500kb/s` or `10gb/h`; a kb is 1,024 bytes. `off` is none.
 *
 * @throws {RangeError} if the text has another form, or the amount is 0
 */
export function parseByteRate(text: string): Rate | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const [, digits, unit, window] = /^(\d{1,9})(b|kb|mb|gb)\/([smh])$/i.exec(text) ?? [];
  const amount = Number(digits) * BYTES[unit?.toLowerCase() as keyof typeof BYTES];
  if (!(amount > 0)) {
    throw new RangeError(
      'should be a number above 0 with b, kb, mb or gb and /s, /m or /h behind it, such as 1mb/s, or off',
    );
  }
  return { amount, window: SECONDS[window?.toLowerCase() as keyof typeof SECONDS] };
}
