/**
 * Returns where two parsed JSON values differ, as a path with both values; undefined if they are the same.
 *
 * @param tolerance the largest relative difference of numbers that counts as the same
 */
export function differenceOf(expected: unknown, found: unknown, tolerance: number, path = ''): string | undefined {
  if (typeof expected === 'number' && typeof found === 'number') {
    const isSame = Math.abs(expected - found) <= tolerance * Math.max(Math.abs(expected), Math.abs(found));
    return isSame ? undefined : describe(path, expected, found);
  }
  if (!isContainer(expected) || !isContainer(found)) {
    return Object.is(expected, found) ? undefined : describe(path, expected, found);
  }
  const keys = new Set([...Object.keys(expected), ...Object.keys(found)]);
  for (const key of keys) {
    const difference = differenceOf(expected[key], found[key], tolerance, `${path}.${key}`);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function describe(path: string, expected: unknown, found: unknown): string {
  return `${path}: ${JSON.stringify(expected)} and ${JSON.stringify(found)}`;
}
