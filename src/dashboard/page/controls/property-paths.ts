/** Deepest property that is suggested. The query routes accept deeper ones. */
const MAX_DEPTH = 4;

/**
 * Returns the paths of the texts, numbers and booleans in the data of events, most frequent first, as the query routes
 * expect them: `data.cart.total`, with dots and backslashes in names escaped.
 */
export function propertyPaths(data: readonly unknown[]): `data.${string}`[] {
  const counts = new Map<string, number>();
  const visit = (value: unknown, path: readonly string[]) => {
    if (isLeaf(value)) {
      const name = path.join('.');
      counts.set(name, (counts.get(name) ?? 0) + 1);
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value) && path.length < MAX_DEPTH) {
      for (const [key, inner] of Object.entries(value)) visit(inner, [...path, escapeKey(key)]);
    }
  };
  for (const event of data) visit(event, []);
  counts.delete('');
  return [...counts].sort(([, a], [, b]) => b - a).map(([path]): `data.${string}` => `data.${path}`);
}

function escapeKey(key: string): string {
  return key.replaceAll(/[.\\]/g, String.raw`\$&`);
}

function isLeaf(value: unknown): boolean {
  // numbers that a double cannot represent are objects with their digits
  const isExactNumber = typeof JSON.isRawJSON === 'function' && JSON.isRawJSON(value);
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || isExactNumber;
}

/** Parses a field as typed: `Label`, or the path of a property with or without `data.`; undefined if it is empty. */
export function fieldOf(text: string): 'label' | `data.${string}` | undefined {
  const typed = text.trim();
  if (typed === '' || typed === 'data.') return undefined;
  if (typed.toLowerCase() === 'label') return 'label';
  return typed.startsWith('data.') ? (typed as `data.${string}`) : `data.${typed}`;
}

/** Formats a field for readers: `Label`, or the path without `data.`. */
export function fieldText(field: 'label' | `data.${string}`): string {
  return field === 'label' ? 'Label' : field.slice('data.'.length);
}
