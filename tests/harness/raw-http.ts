import { connect } from 'node:net';

/** Sends raw lines to a server's port, in UTF-8 by default; resolves to everything received until the connection closes. */
export function rawRequest(
  url: string,
  lines: readonly string[],
  options: { closeAfterSend?: boolean; encoding?: 'latin1' } = {},
): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => {
      socket.write(lines.join('\r\n'), options.encoding ?? 'utf8');
      if (options.closeAfterSend) socket.end();
    });
    socket.on('data', (data) => {
      received += data.toString('latin1');
    });
    socket.on('error', () => resolve(received));
    socket.on('close', () => resolve(received));
  });
}
