/** A set of web origins. */
export interface Origins {
  /** Returns whether the value of an `Origin` header is in the set. */
  contains(origin: string): boolean;
  /** The origins and wildcards as they were listed, which are also the sources of a Content-Security-Policy. */
  readonly sources: readonly string[];
}

/** The origins of all subdomains of a domain: `https://*.example.com`. */
interface Wildcard {
  readonly protocol: string;
  /** The domain with a leading dot. */
  readonly suffix: string;
  readonly port: string;
}

const HTTP_SCHEME = /^https?:/;
/** A source of a Content-Security-Policy, whose hosts have neither semicolons, which would end it, nor IPv6 addresses. */
const POLICY_SOURCE = /^https?:\/\/(?:\*\.)?[\w.-]+(?::\d+)?$/;
/** Schemes without pages, or whose pages have the origin `null`. */
const WITHOUT_ORIGIN = /^(?:wss?|ftp|file|data|blob|about|javascript|filesystem):/;
const WILDCARD_FORM = 'should write wildcards as https://*.example.com';
/** A top-level domain, or a second-level one such as `.co.uk`, with or without a trailing dot. */
const TOP_LEVEL = /^\.(?:(?:ac|co|com|edu|gov|net|org)\.[a-z]{2}|[^.]+)\.?$/;
/** An origin with another scheme, such as `capacitor://localhost`. Browsers do not normalize its host. */
const CUSTOM = /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@*"'<>\\^`{|}]+$/;

/**
 * Parses a comma-separated list of origins, written as browsers send them, and wildcards such as `https://*.example.com`.
 *
 * @throws {Error} if an entry matches no origin that browsers send, or matches unrelated sites
 */
export function parseOrigins(text: string): Origins {
  const exact = new Set<string>();
  const wildcards: Wildcard[] = [];
  const sources = text.split(',').flatMap((entry) => entry.trim() || []);
  for (const origin of sources) {
    const wildcard = parseWildcard(origin);
    if (wildcard) wildcards.push(wildcard);
    else exact.add(checkOrigin(origin));
  }
  return {
    sources,
    contains: (origin) => exact.has(origin) || wildcards.some((wildcard) => matches(wildcard, origin)),
  };
}

/**
 * Parses the origins of pages that may embed others in a frame, as {@link parseOrigins} does.
 *
 * @throws {Error} also if an entry has another scheme than http and https, or cannot be in a Content-Security-Policy
 */
export function parseEmbedOrigins(text: string): Origins {
  const origins = parseOrigins(text);
  if (!origins.sources.every((source) => HTTP_SCHEME.test(source))) {
    throw new Error('should contain only http and https origins');
  }
  if (!origins.sources.every((source) => POLICY_SOURCE.test(source))) {
    throw new Error('should contain only host names and IPv4 addresses, with an optional port, separated by commas');
  }
  return origins;
}

function checkOrigin(origin: string): string {
  if (origin === '*' || origin === 'null') {
    throw new Error(`should not contain ${origin}, which matches pages of any site; list your own origins`);
  }
  if (origin.includes('*')) throw new Error(WILDCARD_FORM);
  if (WITHOUT_ORIGIN.test(origin.toLowerCase())) throw new Error('contains an origin that browsers never send');
  const url = URL.parse(origin);
  if (url !== null && HTTP_SCHEME.test(url.protocol)) {
    if (url.origin === origin) return origin;
    throw new Error(`should be a list of origins as browsers send them, such as ${url.origin}`);
  }
  if (url === null || !CUSTOM.test(origin)) {
    throw new Error('should be a list of origins such as https://app.example, without a path');
  }
  return origin;
}

function parseWildcard(origin: string): Wildcard | undefined {
  const match = /^(https?:\/\/)\*\.(.*)$/.exec(origin);
  if (!match) return undefined;
  const [, scheme = '', host = ''] = match;
  const url = URL.parse(`${scheme}x.${host}`);
  if (url === null || url.origin !== `${scheme}x.${host}` || host.includes('*')) {
    throw new Error(WILDCARD_FORM);
  }
  const suffix = url.hostname.slice(1);
  if (suffix !== '.localhost' && TOP_LEVEL.test(suffix)) {
    throw new Error(`should not contain ${scheme}*${suffix}, which matches unrelated sites`);
  }
  return { protocol: url.protocol, suffix, port: url.port };
}

function matches({ protocol, suffix, port }: Wildcard, origin: string): boolean {
  const url = URL.parse(origin);
  return (
    url !== null &&
    url.origin === origin && // exactly as a browser sends it
    url.protocol === protocol &&
    url.port === port &&
    url.hostname.endsWith(suffix) &&
    url.hostname.length > suffix.length
  );
}
