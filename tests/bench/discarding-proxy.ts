/*
 * bun discarding-proxy.ts ORIGIN
 *
 * A proxy of the HTTP interface of ClickHouse that reads the rows of an INSERT and acknowledges them, without passing them
 * on. Forwarding to it takes what rawlog itself takes, and nothing for an engine that stores rows. Prints its URL.
 */
const origin = process.argv[2] ?? '';
const SERVER_HEADER = 'x-clickhouse-server-display-name';

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  async fetch(request) {
    const { search, searchParams } = new URL(request.url);
    const body = await request.arrayBuffer();
    if (searchParams.get('query')?.startsWith('INSERT ')) {
      return new Response('', { headers: { [SERVER_HEADER]: 'discarding-proxy' } });
    }
    const headers = { authorization: request.headers.get('authorization') ?? '' };
    const response = await fetch(`${origin}/${search}`, { method: request.method, headers, body });
    return new Response(await response.text(), {
      status: response.status,
      headers: { [SERVER_HEADER]: response.headers.get(SERVER_HEADER) ?? '' },
    });
  },
});
console.log(server.url.href);
