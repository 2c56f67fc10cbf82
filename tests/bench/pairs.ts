/** What two things showed in the same round. */
export type Pair<Ours, Theirs> = readonly [ours: Ours, theirs: Theirs];

/**
 * Measures two things by turns, so that a noisy machine is as noisy to both. Who goes first changes, so
 * that neither always follows the other.
 */
export async function inPairs<Ours, Theirs>(
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
