/** Path prefixes of the original service, which its clients still use. */
const PREFIXES = ['', '/analytics', '/api/analytics'];

/** Canonical paths of the routes that have aliases. */
const PATHS = ['/log_raw_metric', '/log_raw_analytics'] as const;

const CANONICAL = new Map(PATHS.flatMap((path) => aliasesOf(path).map((alias) => [alias, path])));

/** Returns all aliases of a route: its path under the old prefixes, with and without a trailing slash. */
export function aliasesOf(path: (typeof PATHS)[number]): string[] {
  return PREFIXES.flatMap((prefix) => [`${prefix}${path}`, `${prefix}${path}/`]).filter((alias) => alias !== path);
}

/** Returns the path under which requests to a route or one of its aliases are counted and logged. */
export function canonicalPath(path: string): string {
  return CANONICAL.get(path) ?? path;
}
