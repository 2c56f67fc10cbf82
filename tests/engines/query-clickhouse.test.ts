import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { freePort } from '../harness/free-port.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { compareExports, comparePages, compareQueries } from '../query/clickhouse/comparison.ts';
import {
  copyRows,
  createShardedTables,
  createTables,
  recordVariedRows,
  shardsConfig,
  variedQueries,
} from '../query/clickhouse/varied-rows.ts';

/*
 * The long form of tests/slow/query-clickhouse.test.ts: more queries, on ClickHouse 26.7 and on a sharded table. Install the
 * engine with "npm ci --prefix tests/engines".
 */

const QUERIES = 1_500;
const TIMEOUT_MS = 1_800_000;
const isChdbMissing = !existsSync(join(import.meta.dir, 'node_modules/chdb'));
if (isChdbMissing) console.warn('SKIPPED: ClickHouse 26.7; run "npm ci --prefix tests/engines"');

/** Records rows in a server without ClickHouse, copies them into ClickHouse, and compares all queries. */
async function compareAll(queryUrl: string, run: (statement: string) => Promise<unknown>): Promise<void> {
  const servers: Target[] = [];
  try {
    const embedded = await startTarget();
    servers.push(embedded);
    await recordVariedRows(embedded, 3_000);
    await copyRows(embedded, run);
    const external = await startTarget({ ...UNLIMITED, QUERY_TIMEOUT: '60s', QUERY_URL: queryUrl });
    servers.push(external);
    await compareQueries(embedded, external, variedQueries(QUERIES));
    await comparePages(embedded, external);
    await compareExports(embedded, external);
  } finally {
    for (const server of servers) await server.stop();
  }
}

describe('queries return what the embedded engine returns', () => {
  test.skipIf(isChdbMissing)(
    'with ClickHouse 26.7',
    async () => {
      using folder = temporaryFolder();
      const child = Bun.spawn([process.execPath, join(import.meta.dir, 'chdb-server.ts'), folder.path], {
        stdout: 'pipe',
        stderr: 'inherit',
      });
      try {
        const { value } = await child.stdout.getReader().read();
        const port = Number(new TextDecoder().decode(value));
        const run = async (statement: string) => {
          const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: statement });
          if (!response.ok) throw new Error(await response.text());
          return response.text();
        };
        expect(await run('SELECT version()')).toStartWith('26.7.');
        await createTables(run);
        await compareAll(`clickhouse://127.0.0.1:${port}/rawlog`, run);
      } finally {
        child.kill();
        await child.exited;
      }
    },
    TIMEOUT_MS,
  );

  test.skipIf(isClickHouseMissing)(
    'with ClickHouse 18.16 and tables that are sharded by user',
    async () => {
      const ports = { tcp: freePort(), replicas: freePort() };
      await using clickhouse = await startClickHouse({ ports, config: shardsConfig(ports.tcp) });
      await createShardedTables(clickhouse.sql);
      // otherwise, rows reach the shards only later
      const url = `http://127.0.0.1:${clickhouse.port}/?insert_distributed_sync=1`;
      const run = async (statement: string) => {
        const response = await fetch(url, { method: 'POST', body: statement });
        if (!response.ok) throw new Error(await response.text());
      };
      await compareAll(clickhouse.url().href, run);
    },
    TIMEOUT_MS,
  );
});
