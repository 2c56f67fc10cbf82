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
