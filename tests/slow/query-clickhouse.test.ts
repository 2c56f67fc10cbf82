import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { parseClickHouseUrl } from '../../src/formats/clickhouse-url.ts';
import { createBudget, QueryCanceledError, QueryTooLargeError } from '../../src/query/budget.ts';
import { createClickHouse, EngineUnavailableError, NotSupportedError } from '../../src/query/clickhouse/connection.ts';
import { createClickHouseEngine } from '../../src/query/clickhouse/engine.ts';
import { integer, integers, list, sql, text } from '../../src/query/clickhouse/sql.ts';
import { seqOfId } from '../../src/storage/record-id.ts';
import { type ClickHouseServer, isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { randomNumbers } from '../harness/random.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { compareExports, comparePages, compareQueries } from '../query/clickhouse/comparison.ts';
import { copyRows, createTables, recordVariedRows, USERS, variedQueries } from '../query/clickhouse/varied-rows.ts';
import { FIRST_SEQ, idOf } from '../storage/log.ts';

const ALIVE = { isCanceled: () => false, signal: new AbortController().signal, erased: [] };
const LIMITS = { timeoutMs: 60_000, maxResultBytes: 32 * 1024 * 1024 };
const isReload = (line: Record<string, unknown>) => line['msg'] === 'secret files reloaded';
const NO_RANGE = { from: undefined, to: undefined, user: undefined };

describe.skipIf(isClickHouseMissing)('with QUERY_URL and ClickHouse 18.16', () => {
  let clickhouse: ClickHouseServer;
  let embedded: Target;
  let external: Target;
  /** The engine's client, as an account that may only read. */
  const connect = (timeoutMs = LIMITS.timeoutMs) =>
    createClickHouse(parseClickHouseUrl(clickhouse.url('rawlog', 'reader')), timeoutMs);
  const context = (signal = ALIVE.signal, isCanceled = ALIVE.isCanceled) => ({
    budget: createBudget({ ...LIMITS, isCanceled }),
    signal,
    erased: [],
  });

  beforeAll(async () => {
    clickhouse = await startClickHouse({ users: { reader: { readonly: '2' }, fixed: { readonly: '1' } } });
    await createTables(clickhouse.sql);
    embedded = await startTarget();
    await recordVariedRows(embedded, 2_000);
    await copyRows(embedded, clickhouse.sql);
    external = await startTarget({ ...UNLIMITED, QUERY_URL: clickhouse.url('rawlog', 'reader').href });
  }, 120_000);
  afterAll(async () => {
    await external?.stop();
    await embedded?.stop();
    await clickhouse?.[Symbol.asyncDispose]();
  });

  test('queries return what the embedded engine returns, to the last digit', async () => {
    await compareQueries(embedded, external, variedQueries(80));
  }, 120_000);

  test('pages and exports return the same rows, each once', async () => {
    await comparePages(embedded, external);
    await compareExports(embedded, external);
  }, 120_000);

  test('an export resumes between rows of several nodes with the same key', async () => {
    const nodes = ['8', '9', 'a', 'b'];
    const ids = [0, 1, 2].flatMap((n) => nodes.map((node) => idOf(FIRST_SEQ + n).replace('-8000-', `-${node}000-`)));
    const rows = ids.map((id) => `${seqOfId(id)}\t${id}\tnode\tequal keys\t0\t0\tequal\t1\t/`);
    await clickhouse.sql(`INSERT INTO rawlog.rawlog_metrics (seq, id, node, user_id, happened_at, received_at, metric_name,
      metric_value, data_string) FORMAT TabSeparated ${rows.join('\n')}\n`);
    const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    const read = async (after?: string) => {
      const query = `user_id=equal%20keys${after === undefined ? '' : `&after=${after}`}`;
      const { text: lines } = await send(`${external.url}/api/export/metrics?${query}`, { headers });
      return [...lines.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id);
    };
    expect(await read()).toEqual(ids);
    for (const [i, id] of ids.entries()) expect(await read(id)).toEqual(ids.slice(i + 1));
    await clickhouse.sql("ALTER TABLE rawlog.rawlog_metrics DELETE WHERE user_id = 'equal keys'");
    while ((await read()).length > 0);
  });

  test('users read only their own rows', async () => {
    const headers = { authorization: `Bearer ${await token({ sub: USERS[0] })}` };
    for (const path of ['/api/metrics', '/api/activity', '/api/analytics/counts?type=click', '/api/records/metrics']) {
      const [expected, found] = await Promise.all([embedded, external].map(({ url }) => send(url + path, { headers })));
      expect(found?.body).toEqual(expected?.body);
    }
    const { status } = await send(`${external.url}/api/metrics?user_id=${USERS[1]}`, { headers });
    expect(status).toBe(403);
  });

  test('buckets before 1970, and where a zone left its local mean time, are the same', async () => {
    // the clocks of Amsterdam and Paris went back by some seconds, so one bucket has another length than the others
    const times = ['1911-03-10T23:50:38Z', '1911-03-10T23:50:39Z', '1937-06-30T23:59:59.5Z', '1937-07-01T00:00:28Z'];
    const instants = [...times, '1969-12-31T23:59:59.999999Z', '1970-01-01T00:00:00Z', '1970-06-01T00:00:00Z'];
    const metrics = instants.map((timestamp) => ({ ...METRIC, metric_name: 'old', timestamp }));
    expect((await post(embedded, '/log_batch', { metrics })).status).toBe(200);
    await copyRows(embedded, clickhouse.sql); // all other rows again
    const old = '/api/metrics/series?name=old';
    await compareQueries(embedded, external, [
      `${old}&interval=15m&tz=Europe/Amsterdam&from=1937-06-01T00:00:00Z&to=1937-08-01T00:00:00Z`,
      `${old}&interval=hour&tz=Europe/Paris&from=1911-01-01T00:00:00Z&to=1912-01-01T00:00:00Z`,
      `${old}&interval=month&tz=Europe/Berlin`,
      `${old}&interval=year`,
      '/api/metrics',
      '/api/analytics/counts?type=click&group_by=data_index',
    ]);
  }, 60_000);

  test('no text changes a statement', async () => {
    const random = randomNumbers(3);
    const pieces = [
      "'",
      '"',
      '\\',
      '\u0000',
      '`',
      '--',
      '/*',
      '*/',
      ';',
      '\n',
      ')',
      '{x:String}',
      '\u{1F600}',
      'é',
      '%',
      'a',
    ];
    const texts = Array.from({ length: 300 }, () =>
      Array.from({ length: Math.floor(random() * 8) }, () => pieces[Math.floor(random() * pieces.length)]).join(''),
    );
    const rows = await connect()
      .connect(context())
      .all(sql`SELECT arrayJoin([${list(texts.map(text))}])`, { text: 'text' });
    expect(rows.map((row) => row.text)).toEqual(texts);
    const numbers = [0, -0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
    const found = await connect()
      .connect(context())
      .all(sql`SELECT arrayJoin(${integers(numbers)})`, { value: 'integer' });
    expect(found.map(({ value }) => value)).toEqual(numbers.map((number) => number + 0));
    for (const number of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => integer(number)).toThrow(RangeError);
    }
  });

  test('a canceled query also ends in the engine', async () => {
    const stopping = new AbortController();
    const { all } = connect().connect(context(stopping.signal, () => stopping.signal.aborted));
    const endless = all(sql`SELECT sum(sipHash64(number)) FROM system.numbers`, { sum: 'integer' });
    const running = async () =>
      (await clickhouse.rows("SELECT 1 FROM system.processes WHERE query LIKE '%sipHash%'")).length;
    while ((await running()) < 2) await Bun.sleep(5); // this query is one of them
    stopping.abort();
    await expect(endless).rejects.toThrow(QueryCanceledError);
    while ((await running()) > 1) await Bun.sleep(5);
  });

  test('the engine itself stops a query after QUERY_TIMEOUT', async () => {
    const { all } = connect(1).connect(context());
    const endless = all(sql`SELECT sum(sipHash64(number)) FROM system.numbers`, { sum: 'integer' });
    await expect(endless).rejects.toThrow(QueryTooLargeError);
  });

  test('reports results that are too large, and functions that the version lacks', async () => {
    const engine = createClickHouseEngine(connect(), { ...LIMITS, maxResultBytes: 100 });
    await expect(engine.queries.names({ kind: 'metric', user: undefined }, ALIVE)).rejects.toThrow(QueryTooLargeError);
    const newer = connect().connect(context()).all(sql`SELECT toDateTime64(0, 6)`, { time: 'integer' });
    await expect(newer).rejects.toThrow(NotSupportedError);
  });

  test('ignores the rows of users whose erasure has not reached the engine', async () => {
    const engine = createClickHouseEngine(connect(), LIMITS);
    const namesWithout = async (erased: { userId: string; cutoffSeq: number }[]) =>
      JSON.parse(await engine.queries.names({ kind: 'metric', user: USERS[0] }, { ...ALIVE, erased }));
    expect(await namesWithout([{ userId: USERS[0], cutoffSeq: 1 }])).not.toEqual([]);
    expect(await namesWithout([{ userId: USERS[0], cutoffSeq: Number.MAX_SAFE_INTEGER }])).toEqual([]);
  });

  test('pages contain rows of two nodes with the same seq', async () => {
    const seq = 4096 * 1e9;
    const ids = Array.from({ length: 6 }, (_, i) => `0197${i}000-0000-7000-8000-00000000000${i}`);
    const rows = ids.map(
      (id, i) => `(${seq + Math.floor(i / 2)}, '${id}', 'node-${i % 2}', 'two-nodes', 1, 1, 'm', 1, '')`,
    );
    await clickhouse.sql(`INSERT INTO rawlog.rawlog_metrics VALUES ${rows.join(',')}`);
    const engine = createClickHouseEngine(connect(), LIMITS);
    const filter = { ...NO_RANGE, user: 'two-nodes', name: undefined };
    for (const limit of [1, 2, 3, 6]) {
      const found: string[] = [];
      for (let before: number | undefined = Number.MAX_SAFE_INTEGER; before !== undefined; ) {
        const page: { records: string[]; next: number | undefined } = await engine.queries.page(
          { kind: 'metric', filter, before, limit },
          ALIVE,
        );
        found.push(...page.records.map((record) => JSON.parse(record).id));
        before = page.next;
      }
      expect(found.sort()).toEqual(ids);
    }
  });

  test('pages end before their JSON exceeds 8 MB or the largest result, and never between rows with the same seq', async () => {
    const bytesOfRow = 6 * 8_000; // of the escapes of its label
    await clickhouse.sql(
      `INSERT INTO rawlog.rawlog_metrics SELECT ${4096 * 2e9} + intDiv(number, 2),
         concat('01980000-0000-7000-8000-', substring(toString(1000000000000 + number), 2)),
         if(number % 2, 'node-1', 'node-2'), 'escapes', 1, 1, 'm', 1, arrayStringConcat(arrayMap(i -> '\\x01', range(8000)))
       FROM system.numbers LIMIT 300`,
    );
    const filter = { ...NO_RANGE, user: 'escapes', name: undefined };
    const pageOf = (maxResultBytes: number, before?: number) =>
      createClickHouseEngine(connect(), { ...LIMITS, maxResultBytes }).queries.page(
        { kind: 'metric', filter, before, limit: 1000 },
        ALIVE,
      );
    for (const [maxResultBytes, largest] of [
      [LIMITS.maxResultBytes, 8 * 1024 ** 2],
      [200_000, 200_000],
    ] as const) {
      const found: string[] = [];
      for (let before: number | undefined; ; ) {
        const { records, next } = await pageOf(maxResultBytes, before);
        const bytes = Buffer.byteLength(records.join());
        expect(bytes).toBeLessThan(largest);
        if (next !== undefined) expect(bytes).toBeGreaterThan(largest - 2.1 * bytesOfRow);
        found.push(...records.map((record) => JSON.parse(record).id));
        before = next;
        if (before === undefined) break;
      }
      expect(found.length).toBe(300);
      expect(new Set(found).size).toBe(300);
    }
    await expect(pageOf(90_000)).rejects.toBeInstanceOf(QueryTooLargeError);
  }, 120_000);

  test('while the engine is down, queries are a 503 with their own text, and recording continues', async () => {
    const headers = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
    await clickhouse.kill('SIGKILL');
    const response = await send(`${external.url}/api/metrics`, { headers });
    expect([response.status, response.body.code]).toEqual([503, 'storage_unavailable']);
    expect(response.body.message).toContain('QUERY_URL');
    expect(response.headers.get('retry-after')).not.toBeNull();
    expect((await post(external, '/log_raw_metric', METRIC)).status).toBe(200);
    const ready = await send(`${external.url}/readyz`);
    expect(ready.status).toBe(200);
    const failed = connect().connect(context()).all(sql`SELECT 1`, { one: 'integer' });
    await expect(failed).rejects.toThrow(EngineUnavailableError);
    await clickhouse.start();
    expect((await send(`${external.url}/api/metrics`, { headers })).status).toBe(200);
    expect(external.output().stderr).not.toContain('p@ss');
    expect(external.output().stderr).not.toContain('p%40ss');
  }, 120_000);

  test('wrong credentials, missing tables and accounts that cannot limit queries are a 503 without details', async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'query-url');
    const wrong = clickhouse.url('rawlog', 'reader');
    wrong.password = 'not-the-password';
    const headers = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
    const urls = [wrong, clickhouse.url('default', 'reader'), clickhouse.url('rawlog', 'fixed')];
    await Bun.write(file, clickhouse.url().href);
    const server = await startTarget({ ...UNLIMITED, QUERY_URL_FILE: file });
    try {
      const namesWith = async (url: URL) => {
        const reloads = server.logLines().filter(isReload).length;
        await Bun.write(file, url.href);
        server.process.kill('SIGHUP');
        await server.logged(() => server.logLines().filter(isReload).length > reloads);
        return send(`${server.url}/api/metrics`, { headers });
      };
      for (const url of urls) {
        const response = await namesWith(url);
        expect([response.status, response.body.code]).toEqual([503, 'storage_unavailable']);
        expect(response.text + server.output().stderr).not.toMatch(/not-the-password|rawlog_metrics|SELECT/);
      }
      expect((await namesWith(clickhouse.url('rawlog', 'reader'))).status).toBe(200);
    } finally {
      await server.stop();
    }
  }, 120_000);
});
