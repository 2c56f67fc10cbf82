import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type ClickHouseServer, isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { ANALYTICS, METRIC, post, rows, send } from '../harness/client.ts';
import { clockAt, isFaketimeMissing } from '../harness/clock.ts';
import { eventually, hasNats, Nats } from '../harness/nats.ts';
import { missingPostgres, type PostgresServer, startPostgres } from '../harness/postgres.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

/*
 * A server that forwards to all engines at once.
 */

const isSkipped = missingPostgres !== undefined || isClickHouseMissing || !hasNats || isFaketimeMissing;
if (isSkipped) console.warn('SKIPPED: forwarding to all engines requires PostgreSQL, ClickHouse, NATS and libfaketime');

const ERASED_USER = 'user-to-be-erased';
const byText = (a: string, b: string) => (a < b ? -1 : 1);

describe.skipIf(isSkipped)('a server that forwards to PostgreSQL, ClickHouse, NATS and S3', () => {
  const folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  let postgres: PostgresServer;
  let clickhouse: ClickHouseServer;
  let nats: Nats;
  let s3: S3Server;
  let env: Record<string, string>;
  let target: Target;
  const acknowledged: string[] = [];

  beforeAll(async () => {
    postgres = startPostgres();
    [clickhouse, nats, s3] = await Promise.all([
      startClickHouse(),
      Nats.start(join(folder.path, 'nats')),
      startS3Server(join(folder.path, 's3')),
    ]);
    const urls = [postgres.url(), clickhouse.url().href, `nats://${nats.host}/rawlog`, `s3://${s3.bucket}/logs`];
    env = { ...UNLIMITED, ...s3.env, FORWARD_URL: urls.join(','), NODE_ID: 'node_1' };
    target = await startTarget(env, { dataDir });
  });
  afterAll(async () => {
    await target?.stop();
    for (const engine of [postgres, clickhouse, nats, s3]) await engine?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  async function record(sub: string): Promise<void> {
    const authorization = `Bearer ${await token({ sub, exp: secondsFromNow(3_600) })}`;
    const items = { metrics: Array(200).fill(METRIC), analytics: Array(100).fill(ANALYTICS) };
    const { status, body } = await post(target, '/log_batch', items, { authorization });
    expect(status).toBe(200);
    acknowledged.push(...body.metrics, ...body.analytics);
  }

  const asAdmin = async () => ({
    authorization: `Bearer ${await token({ role: 'admin', exp: secondsFromNow(3_600) })}`,
  });
  const sinks = async (): Promise<Record<string, unknown>[]> =>
    (await send(`${target.url}/api/status`, { headers: await asAdmin() })).body.sinks;

  /** Waits until no sink lags behind. */
  const areCaughtUp = async () => {
    const all = await sinks();
    return all.length === 4 && all.every(({ lag_rows: lag }) => lag === 0);
  };

  /** Returns the IDs in each engine that is queried directly, with repetitions. */
  async function storedIds(): Promise<Record<string, string[]>> {
    const inPostgres = await postgres.sql`
      SELECT "id" FROM "AnalyticsMetrics" UNION ALL SELECT "id" FROM "AnalyticsDetails"`;
    const inClickHouse = await clickhouse.rows<{ id: string }>(
      'SELECT id FROM rawlog.rawlog_metrics FINAL UNION ALL SELECT id FROM rawlog.rawlog_analytics FINAL',
    );
    const inNats = await nats.messages('rawlog');
    return {
      postgres: inPostgres.map(({ id }) => String(id)).sort(byText),
      clickhouse: inClickHouse.map(({ id }) => id).sort(byText),
      nats: inNats.map(({ id }) => id).sort(byText),
    };
  }

  /** Returns whether all acknowledged rows are in those engines; false while their tables do not exist. */
  const hasArrived = () =>
    storedIds().then(
      (stored) => Object.values(stored).every((ids) => ids.length >= acknowledged.length),
      () => false,
    );

  test('delivers each acknowledged row once, although engines and the server are killed', async () => {
    for (const user of ['user-1', ERASED_USER]) await record(user);
    await eventually(hasArrived);
    postgres.kill();
    await clickhouse.kill('SIGKILL');
    await record('user-1');
    await eventually(async () => (await sinks()).filter(({ state }) => state === 'failing').length === 2);
    await target.stop('SIGKILL');
    await postgres.start();
    await clickhouse.start();
    // S3 receives rows once they are a minute old
    const later = new Date(Date.now() + 120_000).toISOString().slice(0, 19).replace('T', ' ');
    target = await startTarget({ ...env, ...clockAt(later) }, { dataDir });
    await record(ERASED_USER);
    const expected = acknowledged.toSorted(byText);
    await eventually(hasArrived);
    expect(await storedIds()).toEqual({ postgres: expected, clickhouse: expected, nats: expected });
  }, 120_000);

  test('erases a user from all of them, and a bucket turns back into a database', async () => {
    // the rows since the last start are not a minute old; a restart later delivers them
    await target.stop();
    const later = new Date(Date.now() + 600_000).toISOString().slice(0, 19).replace('T', ' ');
    target = await startTarget({ ...env, ...clockAt(later) }, { dataDir });
    await eventually(areCaughtUp);
    const { body } = await send(`${target.url}/api/users/${ERASED_USER}`, {
      method: 'DELETE',
      headers: await asAdmin(),
    });
    expect(body.deleted).toEqual({ metrics: 400, analytics: 200 });
    const kept = [...rows(target, 'metrics'), ...rows(target, 'analytics')]
      .map(({ id }) => String(id))
      .filter((id) => id !== '')
      .sort(byText);
    await eventually(async () => Object.values(await storedIds()).every((ids) => ids.length === kept.length));
    expect(await storedIds()).toEqual({ postgres: kept, clickhouse: kept, nats: kept });
    const settings = { JWT_SECRET: UNLIMITED.JWT_SECRET, ...s3.env };
    await eventually(async () => {
      using copy = temporaryFolder();
      const restored = { ...settings, DATA_DIR: join(copy.path, 'data') };
      const imported = await runCli(['import', `s3://${s3.bucket}/logs`], { env: restored });
      expect(imported).toMatchObject({ exitCode: 0 });
      const { stdout } = await runCli(['export', '-'], { env: restored });
      const ids = stdout.split('\n').flatMap((line): string[] => (line ? [JSON.parse(line).id] : []));
      return ids.length === kept.length && Bun.deepEquals(ids.sort(byText), kept);
    });
  }, 120_000);
});
