/**
 * Reads the value of a shared link from the URL fragment. In a frame, it is then only kept in memory; otherwise it stays in
 * the URL, so that the page can be reloaded and sent on.
 */
export function takeLinkFromAddress(pathname: '/share' | '/embed'): string {
  const value = location.hash.slice(1);
  if (pathname === '/embed') history.replaceState(history.state, '', pathname);
  return value;
}
