/**
 * Returns the number of edits that turn one text into another: insertions, deletions, replacements, and swaps of two
 * neighbors (optimal string alignment).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** Texts longer than this are not compared: their distance takes time that grows with the product of their lengths. */
const MAX_LENGTH = 100;

/**
 * Returns the names that a mistyped name may mean, the most similar first: those that differ in less than half of their
 * characters, or contain all of the typed ones.
 */
export function similarNames(typed: string, names: readonly string[], limit = 3): string[] {
  const wanted = typed.toLowerCase();
  if (wanted === '' || wanted.length > MAX_LENGTH) return [];
  return names
    .filter((name) => name !== '' && name.length <= MAX_LENGTH)
    .map((name) => {
      const candidate = name.toLowerCase();
      const isPart = candidate.includes(wanted) || wanted.includes(candidate);
      const distance = editDistance(wanted, candidate);
      return { name, isSimilar: isPart || distance < Math.max(wanted.length, candidate.length) / 2, distance };
    })
    .filter(({ isSimilar }) => isSimilar)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, limit)
    .map(({ name }) => name);
}
