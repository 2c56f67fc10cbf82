/** Where the service that rawlog replaces mounted its two routes; its clients still send there. */
const PREFIXES = ['', '/analytics', '/api/analytics'];

/** Canonical paths of the routes that have aliases. */
const PATHS = ['/log_raw_metric', '/log_raw_analytics'] as const;

const CANONICAL = new Map(PATHS.flatMap((path) => aliasesOf(path).map((alias) => [alias, path])));

/** Returns every other path of a route: under its old prefixes, and with a slash at its end. */
export function aliasesOf(path: (typeof PATHS)[number]): string[] {
  return PREFIXES.flatMap((prefix) => [`${prefix}${path}`, `${prefix}${path}/`]).filter((alias) => alias !== path);
}

/** Returns the path under which a route is counted and logged. */
export function canonicalPath(path: string): string {
  return CANONICAL.get(path) ?? path;
}
