/** What a request asks for, as text: the path, and what follows the question mark. */
export interface RequestTarget {
  readonly path: string;
  /** Without the question mark; empty where there is none. */
  readonly query: string;
}

const SCHEME_AND_HOST = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

/**
 * Returns the path and the query of a request without parsing its URL: Bun puts the `Host` header into
 * `request.url` as it is, so that with `Host: a b`, `x:abc` or `::1`, or in HTTP/1.0 without one, the text is
 * not a valid URL.
 *
 * Bun has normalized the path by then where the host is a usual one: backslashes are slashes and dot segments
 * are resolved. Where the host is not, the text is the request target as sent. A fragment is not a part of a
 * request target: a raw `#` stays where it is.
 */
export function targetOf({ url }: Request): RequestTarget {
  const target = url.replace(SCHEME_AND_HOST, '');
  const mark = target.indexOf('?');
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
