/** The results of two subjects in the same round. */
export type Pair<Ours, Theirs> = readonly [ours: Ours, theirs: Theirs];

/**
 * Measures two subjects alternately, so that noise on the machine affects both equally. The order changes with
 * each round, so that neither always runs first.
 */
export async function measurePairs<Ours, Theirs>(
  count: number,
  ours: () => Promise<Ours>,
  theirs: () => Promise<Theirs>,
): Promise<Pair<Ours, Theirs>[]> {
  const pairs: Pair<Ours, Theirs>[] = [];
  for (let i = 0; i < count; i++) {
    if (i % 2 === 0) {
      const second = await theirs();
      pairs.push([await ours(), second]);
    } else {
      pairs.push([await ours(), await theirs()]);
    }
  }
  return pairs;
}
