import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Sink } from '../../src/forwarding/sink.ts';
import type { LogRecord } from '../../src/records.ts';
import {
  blockOf,
  LEAVING_USER,
  preparedSink,
  STAYING_USER,
  testClickHouseSink,
} from '../forwarding/clickhouse-claims.ts';
import { type ClickHouseServer, isClickHouseMissing } from '../harness/clickhouse.ts';
import { CLUSTER, type ClickHouseCluster, startClickHouseCluster } from '../harness/clickhouse-cluster.ts';
import { isZooKeeperMissing } from '../harness/zookeeper.ts';
import { event, FIRST_SEQ, idOf, metric, records } from '../storage/log.ts';

const NEVER = new AbortController().signal;
/** How long tests wait for the cluster, in milliseconds. */
const PATIENCE_MS = 120_000;

describe.skipIf(isClickHouseMissing || isZooKeeperMissing)('a cluster of 2 shards with 2 replicas', () => {
  let cluster: ClickHouseCluster;
  beforeAll(async () => {
    cluster = await startClickHouseCluster(2, 2);
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const urlOf = (server: ClickHouseServer, database: string) => {
    const url = server.url(database);
    url.searchParams.set('cluster', CLUSTER);
    return url;
  };
  const first = () => cluster.servers[0] as ClickHouseServer;

  testClickHouseSink(() => ({
    url: (database) => urlOf(first(), database),
    // on every node that has the table
    sql: async (statement) => {
      const results = await Promise.all(cluster.servers.map((server) => server.sql(statement)));
      return results[0] ?? '';
    },
    rows: (query) => first().rows(query),
    storedSuffix: '_local',
  }));

  const usersOf = (i: number) => (i % 2 === 0 ? LEAVING_USER : STAYING_USER);
  const rowsOf = (from: number, count: number) =>
    records(count, (_, i) => metric(FIRST_SEQ + from + i, { userId: usersOf(i), dataString: String(from + i) }));
  const uniqueRows = (server: ClickHouseServer, table: string) =>
    server.sql(`SELECT count() FROM (SELECT id FROM ${table} GROUP BY id)`).then(Number);

  /** Delivers a block as the forwarder does: prepares again after an error. */
  async function deliverUntilStored(sink: Sink, rows: readonly LogRecord[]): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; ; await Bun.sleep(200)) {
      try {
        await sink.deliver(blockOf(rows), NEVER);
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sink.prepare(NEVER).catch(() => {});
      }
    }
  }

  async function until(check: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; !(await check()); await Bun.sleep(100)) {
      if (Date.now() > deadline) throw new Error('the cluster did not get there');
    }
  }

  test('shards by user, and copies each row to both replicas', async () => {
    const sink = await preparedSink(urlOf(first(), 'sharded'));
    const rows = records(1_000, (seq, i) => metric(seq, { userId: `user|${i % 50}` }));
    await sink.deliver(blockOf(rows), NEVER);
    for (const server of cluster.servers) {
      await until(async () => (await uniqueRows(server, 'sharded.rawlog_metrics')) === 1_000);
    }
    const users = async (server: ClickHouseServer) => {
      const found = await server.rows<{ user_id: string }>('SELECT DISTINCT user_id FROM sharded.rawlog_metrics_local');
      return found.map(({ user_id }) => user_id).sort();
    };
    const [one = [], two = []] = await Promise.all(
      cluster.shards.map((replicas) => users(replicas[0] as ClickHouseServer)),
    );
    expect(one.length).toBeGreaterThan(5);
    expect(two.length).toBeGreaterThan(5);
    expect(new Set([...one, ...two]).size).toBe(one.length + two.length);
    const local = 'SELECT count() FROM sharded.rawlog_metrics_local';
    for (const [a, b] of cluster.shards as [ClickHouseServer, ClickHouseServer][]) {
      await until(async () => (await a.sql(local)) === (await b.sql(local)));
    }
  });

  test('stores every row once while a replica, a shard and the whole cluster are killed and return', async () => {
    const sink = await preparedSink(urlOf(first(), 'killed'));
    const [, second, third, fourth] = cluster.servers as [
      ClickHouseServer,
      ClickHouseServer,
      ClickHouseServer,
      ClickHouseServer,
    ];
    await deliverUntilStored(sink, rowsOf(0, 100));

    await second.kill('SIGKILL');
    await deliverUntilStored(sink, rowsOf(100, 100)); // the other replica of the shard stores the rows
    await second.start();

    await Promise.all([third.kill('SIGKILL'), fourth.kill('SIGKILL')]);
    await expect(sink.deliver(blockOf(rowsOf(200, 100)), NEVER)).rejects.toThrow();
    await Promise.all([third.start(), fourth.start()]);
    await deliverUntilStored(sink, rowsOf(150, 150));

    await Promise.all(cluster.servers.map((server) => server.kill('SIGKILL')));
    await expect(sink.deliver(blockOf(rowsOf(300, 100)), NEVER)).rejects.toThrow();
    await Promise.all(cluster.servers.map((server) => server.start()));
    await deliverUntilStored(sink, rowsOf(250, 150));

    for (const server of cluster.servers) {
      await until(async () => (await uniqueRows(server, 'killed.rawlog_metrics').catch(() => 0)) === 400);
      expect(await server.sql('SELECT count() FROM killed.rawlog_metrics FINAL')).toBe('400\n');
    }
  });

  test('a replica that is down gets the tables, the rows and the erasures when it returns', async () => {
    const [, second] = cluster.servers as [ClickHouseServer, ClickHouseServer];
    await second.kill('SIGKILL');
    const sink = await preparedSink(urlOf(first(), 'absent'));
    const events = records(100, (seq, i) => event(seq, { userId: usersOf(i) }));
    await deliverUntilStored(sink, rowsOf(0, 100));
    await sink.deliver(blockOf(events, 'analytics'), NEVER);
    const cutoffSeq = FIRST_SEQ + 49;
    await sink.erase({ userId: LEAVING_USER, cutoffSeq, cutoffId: idOf(cutoffSeq) }, NEVER);
    await second.start();
    for (const server of cluster.servers) {
      for (const table of ['absent.rawlog_metrics', 'absent.rawlog_analytics']) {
        await until(async () => (await uniqueRows(server, table).catch(() => -1)) === 75);
        expect(
          await server.sql(`SELECT count() FROM ${table} WHERE user_id = '${LEAVING_USER}' AND seq <= ${cutoffSeq}`),
        ).toBe('0\n');
      }
    }
    const local = `SELECT count() FROM absent.rawlog_metrics_local WHERE user_id = '${LEAVING_USER}' AND seq <= ${cutoffSeq}`;
    await until(async () => (await second.sql(local)) === '0\n');
  });
});
