/** A set of origins. */
export interface Origins {
  /** Returns whether the value of an `Origin` header is one of them. */
  contains(origin: string): boolean;
}

/** `https://*.example.com`: the origins of all hosts below a domain. */
interface Wildcard {
  readonly protocol: string;
  /** With the dot before the domain. */
  readonly suffix: string;
  readonly port: string;
}

const WEB = /^https?:/;
/** Schemes of pages whose origin browsers send as `null`, or that have no pages. */
const WITHOUT_ORIGIN = /^(?:wss?|ftp|file|data|blob|about|javascript|filesystem):/;
const WILDCARD_FORM = 'should have wildcards in the form https://*.example.com';
/** A top-level domain, also with a dot behind it, or one like `.co.uk`. */
const TOP_LEVEL = /^\.(?:(?:ac|co|com|edu|gov|net|org)\.[a-z]{2}|[^.]+)\.?$/;
/** An origin of another scheme, such as `capacitor://localhost`: browsers leave its host as it is. */
const CUSTOM = /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@*"'<>\\^`{|}]+$/;

/**
 * Parses a comma-separated list of origins as browsers send them, and of wildcards such as `https://*.example.com`.
 *
 * @throws {Error} for an entry that no browser's origin can match, and for one that matches too many
 */
export function parseOrigins(text: string): Origins {
  const exact = new Set<string>();
  const wildcards: Wildcard[] = [];
  for (const origin of text.split(',').flatMap((entry) => entry.trim() || [])) {
    const wildcard = parseWildcard(origin);
    if (wildcard) wildcards.push(wildcard);
    else exact.add(checkOrigin(origin));
  }
  return {
    contains: (origin) => exact.has(origin) || wildcards.some((wildcard) => matches(wildcard, origin)),
  };
}

function checkOrigin(origin: string): string {
  if (origin === '*' || origin === 'null') {
    throw new Error(`should not contain ${origin}, which pages of any site have; list the origins of your pages`);
  }
  if (origin.includes('*')) throw new Error(WILDCARD_FORM);
  if (WITHOUT_ORIGIN.test(origin.toLowerCase())) throw new Error('names a scheme whose pages have no origin');
  const url = URL.parse(origin);
  if (url !== null && WEB.test(url.protocol)) {
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
  const [, scheme = '', rest = ''] = match;
  const url = URL.parse(`${scheme}x.${rest}`);
  if (url === null || url.origin !== `${scheme}x.${rest}` || rest.includes('*')) {
    throw new Error(WILDCARD_FORM);
  }
  const suffix = url.hostname.slice(1);
  if (suffix !== '.localhost' && TOP_LEVEL.test(suffix)) {
    throw new Error(`should not contain ${scheme}*${suffix}, which matches sites of anybody`);
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
