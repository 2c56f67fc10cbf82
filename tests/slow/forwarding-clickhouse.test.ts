import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createClickHouseSink } from '../../src/forwarding/clickhouse/sink.ts';
import { SinkConfigurationError } from '../../src/forwarding/sink.ts';
import { blockOf, preparedSink, testClickHouseSink } from '../forwarding/clickhouse-claims.ts';
import { type ClickHouseServer, isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { FIRST_SEQ, metric, records } from '../storage/log.ts';

const NEVER = new AbortController().signal;
const ROWS = records(10, (seq) => metric(seq));

describe.skipIf(isClickHouseMissing)('ClickHouse 18.16', () => {
  let server: ClickHouseServer;
  beforeAll(async () => {
    const users = { writer: {}, reader: { readonly: '2' }, small: { max_memory_usage: '100000' } };
    server = await startClickHouse({ users });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  testClickHouseSink(() => ({
    url: (database) => server.url(database, 'writer'),
    sql: server.sql,
    rows: server.rows,
    storedSuffix: '',
  }));

  test('a server that dies makes deliver reject, and a later one succeeds', async () => {
    const sink = await preparedSink(server.url('dying'));
    await server.kill('SIGKILL');
    await expect(sink.deliver(blockOf(ROWS), NEVER)).rejects.toThrow();
    await server.start();
    await sink.prepare(NEVER);
    expect(await sink.deliver(blockOf(ROWS), NEVER)).toEqual({ rejected: [], postponed: [] });
    expect(await server.sql('SELECT count() FROM dying.rawlog_metrics FINAL')).toBe('10\n');
  });

  test('a call that is aborted while the server hangs rejects', async () => {
    const sink = await preparedSink(server.url('hanging'));
    await server.kill('SIGSTOP');
    const controller = new AbortController();
    const calls = [
      sink.prepare(controller.signal),
      sink.deliver(blockOf(ROWS), controller.signal),
      sink.erase({ userId: 'ada', cutoffSeq: FIRST_SEQ, cutoffId: '' }, controller.signal),
    ];
    controller.abort();
    const results = await Promise.allSettled(calls);
    await server.kill('SIGCONT');
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });

  test('wrong credentials and read-only accounts are reported to the operator, without the password', async () => {
    const wrong = server.url('access', 'writer');
    wrong.password = 'not-the-password';
    for (const [url, text] of [
      [wrong, 'password'],
      [server.url('access', 'nobody'), 'user'],
      [server.url('access', 'reader'), 'read-only'],
    ] as const) {
      const error = await preparedSink(url).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(SinkConfigurationError);
      expect((error as Error).message).toContain(text);
      expect((error as Error).message).not.toContain('not-the-password');
    }
  });

  test('a memory limit and a dropped table reject the block, and do not reject its rows', async () => {
    const sink = await preparedSink(server.url('limits'));
    const small = createClickHouseSink({ url: server.url('limits', 'small'), node: 'node_a' });
    const many = records(20_000, (seq) => metric(seq));
    await expect(small.deliver(blockOf(many), NEVER)).rejects.toThrow('MEMORY_LIMIT_EXCEEDED');
    await server.sql('DROP TABLE limits.rawlog_metrics');
    await expect(sink.deliver(blockOf(ROWS), NEVER)).rejects.toThrow('UNKNOWN_TABLE');
    await sink.prepare(NEVER);
    await sink.deliver(blockOf(ROWS), NEVER);
    expect(await server.sql('SELECT count() FROM limits.rawlog_metrics FINAL')).toBe('10\n');
  });
});

describe('responses of something else than ClickHouse', () => {
  const SERVER = { 'x-clickhouse-server-display-name': 'x' };
  test.each([
    ['a page of a proxy', () => new Response('<html>ok</html>')],
    ['an empty response of a proxy', () => new Response('')],
    ['a redirect', () => Response.redirect('http://127.0.0.1:1/')],
    ['an error page', () => new Response('<html>Bad gateway</html>', { status: 502 })],
    ['an exception in the body', () => new Response('Code: 252, e.displayText() = DB::Exception', { headers: SERVER })],
    [
      'an exception in a header',
      () => new Response('', { headers: { ...SERVER, 'x-clickhouse-exception-code': '252' } }),
    ],
    ['text after an INSERT', () => new Response('1\n', { headers: SERVER })],
    ['an endless response', () => new Response('x'.repeat(2 ** 21), { headers: SERVER })],
  ])('%s rejects the block', async (_name, respond) => {
    await using server = disposable(Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: respond }));
    const sink = createClickHouseSink({ url: new URL(`clickhouse://127.0.0.1:${server.port}/x`), node: 'node_a' });
    await expect(sink.deliver(blockOf(ROWS), NEVER)).rejects.toThrow();
    await expect(sink.prepare(NEVER)).rejects.toThrow();
  });
});

function disposable(server: Bun.Server<undefined>) {
  return { port: server.port, [Symbol.asyncDispose]: () => server.stop(true) };
}
