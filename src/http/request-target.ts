/** The path and the query of a request, as text. */
export interface RequestTarget {
  readonly path: string;
  /** Without the question mark; empty if there is no query. */
  readonly query: string;
}

const SCHEME_AND_HOST = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

/**
 * Returns the path and the query of a request without parsing its URL. Bun copies the `Host` header into `request.url`
 * unchanged, so the result is not a valid URL with `Host: a b`, `x:abc` or `::1`, or in HTTP/1.0 without a host.
 *
 * If the host is valid, Bun has already normalized the path: backslashes have become slashes and dot segments are
 * resolved. Otherwise, this is the request target as sent. A request target has no fragment, so a raw `#` is kept.
 */
export function targetOf({ url }: Request): RequestTarget {
  const target = url.replace(SCHEME_AND_HOST, '');
  const mark = target.indexOf('?');
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
