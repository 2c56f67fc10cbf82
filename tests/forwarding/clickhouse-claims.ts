import { expect, test } from 'bun:test';
import { createClickHouseSink } from '../../src/forwarding/clickhouse/sink.ts';
import { type Block, type Sink, SinkConfigurationError } from '../../src/forwarding/sink.ts';
import type { Kind, LogRecord } from '../../src/records.ts';
import { event, FIRST_SEQ, idOf, metric, records } from '../storage/log.ts';

/*
 * What the sink promises with every version of ClickHouse, on a single server and on a cluster.
 */

/** A user ID that cannot be part of a hash. */
export const LEAVING_USER = 'user|leaving';
export const STAYING_USER = 'user|staying';

/** An engine under test. */
export interface ClickHouseUnderTest {
  /** Returns the URL of a database that does not exist yet. */
  url(database: string): URL;
  sql(statement: string): Promise<string>;
  /** Runs a query. 64-bit integers are texts. */
  rows(query: string): Promise<Record<string, unknown>[]>;
  /** What follows the name of the table that stores rows. */
  readonly storedSuffix: '' | '_local';
}

const NEVER = new AbortController().signal;
/** How long another replica may take to copy rows, in milliseconds. */
const REPLICATION_MS = 60_000;
const NODE = 'node_a';

export function blockOf(rows: readonly LogRecord[], kind: Kind = 'metric'): Block {
  return { kind, node: NODE, records: rows };
}

/** Creates a sink, and its tables. */
export async function preparedSink(url: URL): Promise<Sink> {
  const sink = createClickHouseSink({ url, node: NODE });
  await sink.prepare(NEVER);
  return sink;
}

/** Registers the tests. Each has its own database. */
export function testClickHouseSink(server: () => ClickHouseUnderTest): void {
  let count = 0;
  const freshDatabase = () => `rawlog_${++count}`;
  /** Runs a query until it returns some rows: on a cluster, it may read another replica, which has yet to copy them. */
  async function expectRows(query: string, rows: readonly Record<string, unknown>[]): Promise<void> {
    for (const deadline = Date.now() + REPLICATION_MS; ; await Bun.sleep(100)) {
      const found = await server().rows(query);
      if (!Bun.deepEquals(found, rows) && Date.now() < deadline) continue;
      expect(found).toEqual([...rows]);
      return;
    }
  }
  const expectCount = (database: string, n: number, where = '1', table = 'rawlog_metrics') =>
    expectRows(`SELECT toString(count()) AS n FROM ${database}.${table} FINAL WHERE ${where}`, [{ n: String(n) }]);

  test('stores rows exactly', async () => {
    const database = freshDatabase();
    const sink = await preparedSink(server().url(database));
    const values = [5e-324, 8.41e21, -1.7976931348623157e308, 0.1 + 0.2, 1e23, 12345.67];
    const texts = ['', '\u0000', '😀é"\\\n', 'x'.repeat(300), 'ü'.repeat(70_000), "';--"];
    const early = { happenedAt: -8_000_000_000_000_001, receivedAt: -1 };
    const metrics = records(values.length, (seq, i) =>
      metric(seq, { metricValue: values[i] ?? 0, dataString: texts[i] ?? '', ...(i === 0 && early) }),
    );
    const events = records(texts.length, (seq, i) =>
      event(seq, {
        type: texts[i] ?? '',
        data: JSON.stringify({ text: texts[i], n: 1e300 }),
        dataIndex: texts[i] ?? '',
      }),
    );
    expect(await sink.deliver(blockOf(metrics), NEVER)).toEqual({ rejected: [], postponed: [] });
    await sink.deliver(blockOf(events, 'analytics'), NEVER);
    const bits = 'toString(reinterpretAsUInt64(reinterpretAsString(metric_value)))';
    await expectRows(
      `SELECT toString(seq) AS seq, id, node, user_id, toString(happened_at) AS happened_at, toString(received_at) AS received_at, metric_name, ${bits} AS bits, data_string FROM ${database}.rawlog_metrics ORDER BY seq`,
      metrics.map((row) => ({
        ...{ seq: String(row.seq), id: row.id, node: NODE, user_id: row.userId },
        ...{ happened_at: String(row.happenedAt), received_at: String(row.receivedAt) },
        ...{ metric_name: 'load', bits: String(bitsOf((row as { metricValue: number }).metricValue)) },
        data_string: (row as { dataString: string }).dataString,
      })),
    );
    await expectRows(
      `SELECT type, data, data_index FROM ${database}.rawlog_analytics ORDER BY seq`,
      events.map((row) => ({
        ...{ type: (row as { type: string }).type, data: (row as { data: string }).data },
        data_index: (row as { dataIndex: string }).dataIndex,
      })),
    );
  });

  test('stores each row once, however often and in whatever blocks it is delivered', async () => {
    const database = freshDatabase();
    const sink = await preparedSink(server().url(database));
    // more months than newer versions accept as partitions of one block by default
    const receivedAt = (i: number) => Math.min(i, 110) * 31 * 86_400_000_000;
    const rows = records(250, (seq, i) => metric(seq, { userId: `user|${i % 7}`, receivedAt: receivedAt(i) }));
    await sink.deliver(blockOf(rows), NEVER);
    await sink.deliver(blockOf(rows), NEVER);
    await sink.deliver(blockOf(rows.slice(100, 163)), NEVER);
    await sink.deliver(blockOf(rows.slice(140)), NEVER);
    await expectRows(
      `SELECT toString(count()) AS n, toString(uniqExact(id)) AS ids FROM ${database}.rawlog_metrics FINAL`,
      [{ n: '250', ids: '250' }],
    );
  });

  test('stores the rows of two nodes with equal keys, and the key of the ID', async () => {
    const database = freshDatabase();
    const sink = await preparedSink(server().url(database));
    const own = records(5, (seq) => metric(seq));
    const ofOther = records(5, (seq) => metric(seq, { id: idOf(seq).replace('-8000-', '-9000-') }));
    // one that an import has moved to another key
    const moved = metric(FIRST_SEQ + 100, { id: idOf(FIRST_SEQ + 50) });
    await sink.deliver(blockOf([...own, moved]), NEVER);
    await sink.deliver({ kind: 'metric', node: 'node_b', records: ofOther }, NEVER);
    await expectCount(database, 11);
    await expectCount(database, 5, "node = 'node_b'");
    await expectCount(database, 1, `seq = ${FIRST_SEQ + 50}`);
  });

  test('returns rows that the engine rejects, and stores their neighbors', async () => {
    const database = freshDatabase();
    const sink = await preparedSink(server().url(database));
    const table = `${database}.rawlog_metrics${server().storedSuffix}`;
    await server().sql(`ALTER TABLE ${table} ADD COLUMN checked UInt8 MATERIALIZED throwIf(metric_value = 13)`);
    const bad = [7, 8, 199];
    const rows = records(200, (seq, i) =>
      metric(seq, { userId: 'user|1', metricValue: bad.includes(i) ? 13 : i / 1000 }),
    );
    const { rejected } = await sink.deliver(blockOf(rows), NEVER);
    expect(rejected).toEqual(
      bad.map((i) => {
        const reason = 'ClickHouse error 395 (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)';
        return { id: idOf(FIRST_SEQ + i), seq: FIRST_SEQ + i, reason };
      }),
    );
    await expectCount(database, 197);
    await expectCount(database, 0, 'metric_value = 13');
  });

  test('rejects incompatible tables with a text for the operator, and keeps them', async () => {
    const database = freshDatabase();
    await preparedSink(server().url(database));
    const table = `rawlog_metrics${server().storedSuffix}`;
    const columns = 'seq UInt64, id String, node String, user_id String, happened_at Int64, received_at Int64';
    const others = 'metric_name String, data_string String';
    const cases = [
      [`${columns}, ${others}`, 'ReplacingMergeTree ORDER BY (metric_name, happened_at, id)', 'no column metric_value'],
      [
        `${columns}, ${others}, metric_value Float32`,
        'ReplacingMergeTree ORDER BY (metric_name, happened_at, id)',
        'type',
      ],
      [`${columns}, ${others}, metric_value Float64`, 'ReplacingMergeTree ORDER BY (metric_name)', 'ORDER BY'],
      [`${columns}, ${others}, metric_value Float64`, 'MergeTree ORDER BY (metric_name, happened_at, id)', 'Replacing'],
    ] as const;
    for (const [fields, engine, text] of cases) {
      await server().sql(`DROP TABLE ${database}.${table}`);
      await server().sql(`CREATE TABLE ${database}.${table} (${fields}) ENGINE = ${engine}`);
      const error = await preparedSink(server().url(database)).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(SinkConfigurationError);
      expect((error as Error).message).toContain(text);
      expect((error as Error).message).toContain(`${database}.${table}`);
    }
  });

  test('accepts further columns that have defaults', async () => {
    const database = freshDatabase();
    const url = server().url(database);
    await preparedSink(url);
    await server().sql(
      `ALTER TABLE ${database}.rawlog_metrics${server().storedSuffix} ADD COLUMN extra String DEFAULT 'e'`,
    );
    const sink = await preparedSink(url);
    await sink.deliver(blockOf(records(2, (seq) => metric(seq))), NEVER);
    await expectCount(database, 2);
  });

  test('erases the rows of a user up to the cutoff', async () => {
    const database = freshDatabase();
    const sink = await preparedSink(server().url(database));
    const userId = (i: number) => (i % 2 === 0 ? LEAVING_USER : STAYING_USER);
    await sink.deliver(blockOf(records(20, (seq, i) => metric(seq, { userId: userId(i) }))), NEVER);
    await sink.deliver(
      blockOf(
        records(20, (seq, i) => event(seq, { userId: userId(i) })),
        'analytics',
      ),
      NEVER,
    );
    const cutoffSeq = FIRST_SEQ + 10;
    const erasure = { userId: LEAVING_USER, cutoffSeq, cutoffId: idOf(cutoffSeq) };
    await sink.erase(erasure, NEVER);
    for (const table of ['rawlog_metrics', 'rawlog_analytics']) {
      await expectCount(database, 0, `user_id = '${LEAVING_USER}' AND seq <= ${cutoffSeq}`, table);
      await expectCount(database, 4, `user_id = '${LEAVING_USER}'`, table);
      await expectCount(database, 10, `user_id = '${STAYING_USER}'`, table);
    }
    const commands = `SELECT command FROM system.mutations WHERE database = '${database}'`;
    expect(JSON.stringify(await server().rows(commands))).not.toContain(LEAVING_USER);
    // a hash of the user ID would tell whether a user was erased
    await expectRows(`${commands} AND position(command, 'SHA256') > 0`, []);
    await sink.erase(erasure, NEVER); // nothing is left to erase
  });
}

function bitsOf(value: number): bigint {
  return new BigUint64Array(new Float64Array([value]).buffer)[0] ?? 0n;
}
