/** Deterministic random numbers. */
export interface Random {
  /** Returns a number from 0 to 1, exclusive. */
  next(): number;
  /** Returns an integer from 0 to `below`, exclusive. */
  integer(below: number): number;
  /** Returns a number around 0 with a standard deviation of 1 (Box and Muller). */
  normal(): number;
  /** Returns one of some values by their weights. */
  pick<Value>(choices: readonly (readonly [value: Value, weight: number])[]): Value;
}

/** Creates a generator (mulberry32), which returns the same numbers for the same seed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    integer: (below) => Math.floor(next() * below),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    pick(choices) {
      let left = next() * choices.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [value, weight] of choices) {
        left -= weight;
        if (left < 0) return value;
      }
      const [first] = choices[0] ?? [];
      if (first === undefined) throw new Error('there is nothing to pick from');
      return first;
    },
  };
}
