/** The path and the query of a request, as text. */
export interface RequestTarget {
  readonly path: string;
  /** Without the question mark; empty if there is no query. */
  readonly query: string;
}

const SCHEME_AND_HOST = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

/**
 * Returns the path and the query of a request without parsing its URL. Bun copies the `Host` header into `request.url`
 * unchanged, so `request.url` is not a valid URL if the header is `a b`, `x:abc` or `::1`, or is missing (HTTP/1.0).
 *
 * If the host is valid, Bun has already normalized the path: it turns backslashes into slashes and resolves dot
 * segments. Otherwise, the result is the request target as sent. It has no fragment, so a raw `#` is kept.
 */
export function targetOf({ url }: Request): RequestTarget {
  const target = url.replace(SCHEME_AND_HOST, '');
  const mark = target.indexOf('?');
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
