import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { rowOf } from '../../src/export/encode.ts';
import { encodeParquet } from '../../src/forwarding/s3/parquet-rows.ts';
import { testClickHouseSink } from '../forwarding/clickhouse-claims.ts';
import { temporaryFolder } from '../harness/target.ts';
import { FIRST_SEQ, metric } from '../storage/log.ts';

/*
 * The sinks and ClickHouse 26.7, in its own process. Install it with "npm install --prefix tests/engines".
 */

const isChdbMissing = !existsSync(join(import.meta.dir, 'node_modules/chdb'));
if (isChdbMissing) console.warn('SKIPPED: ClickHouse 26.7; run "npm install --prefix tests/engines"');

describe.skipIf(isChdbMissing)('ClickHouse 26.7', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>;
  let port: number;
  beforeAll(async () => {
    folder = temporaryFolder();
    child = Bun.spawn([process.execPath, join(import.meta.dir, 'chdb-server.ts'), folder.path], {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'inherit',
    });
    const { value } = await child.stdout.getReader().read();
    port = Number(new TextDecoder().decode(value));
  });
  afterAll(async () => {
    child.kill('SIGKILL');
    await child.exited;
    folder[Symbol.dispose]();
  });

  async function sql(statement: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: statement });
    if (!response.ok) throw new Error(await response.text());
    return response.text();
  }
  const rows = async (query: string) => {
    const text = await sql(`${query} FORMAT JSONEachRow`);
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
  };

  test('is the version that it should be', async () => {
    expect(await sql('SELECT version()')).toStartWith('26.7.');
  });

  testClickHouseSink(() => ({
    url: (database) => new URL(`clickhouse://127.0.0.1:${port}/${database}`),
    sql,
    rows,
    storedSuffix: '',
  }));

  test('reads the objects of the S3 sink', async () => {
    const metrics = Array.from({ length: 1_000 }, (_, i) =>
      metric(FIRST_SEQ + i, { metricValue: i / 7, dataString: `é\u0000${i}` }),
    );
    const path = join(folder.path, 'object.parquet');
    await Bun.write(path, encodeParquet('metric', metrics.map(rowOf)));
    const from = `file('${path}', 'Parquet')`;
    expect(
      await rows(
        `SELECT id, metric_value AS v, data_string AS s, toString(toUnixTimestamp64Micro(timestamp)) AS t FROM ${from} ORDER BY id`,
      ),
    ).toEqual(
      metrics.map(({ id, metricValue, dataString, happenedAt }) => ({
        id,
        v: metricValue,
        s: dataString,
        t: String(happenedAt),
      })),
    );
  });
});
