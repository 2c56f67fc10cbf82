import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPostgresSink } from '../../src/forwarding/postgres/sink.ts';
import { KINDS, type Kind, type LogRecord } from '../../src/records.ts';
import { type RecordRow, readWindow } from '../../src/storage/records.ts';
import { ORIGINAL_TABLES, ordinaryRows } from '../harness/autogpt.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { missingPostgres, POSTGRES_PASSWORD, type PostgresServer, startPostgres } from '../harness/postgres.ts';
import { COMMAND, runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The import of an AutoGPT database, from a real PostgreSQL server. Each test uses a schema of its own.
 */

if (missingPostgres) console.warn(`skipped: ${missingPostgres}`);

const NEVER = new AbortController().signal;
/** Values that are easily changed on the way. */
const NASTY = `
  INSERT INTO "AnalyticsMetrics" VALUES
    ('m-1', '2023-01-01 00:00:00.001', '2023-01-01 00:00:00.999', 'a', 1.7976931348623157e308, NULL, 'user-1'),
    ('m-2', '2023-01-01 00:00:00.001', '2020-02-29 23:59:59.999', E'\\t"\\\\ \\u2028 😀', 5e-324, '', 'user-1'),
    ('m-3', '2023-01-01 00:00:00.001', '2023-01-01', 'a', 0.1, E'\\u0001', 'user-2'),
    ('M"4', '2023-01-01 00:00:00.001', '2023-01-01', 'a', -123456789.123456789, repeat('x', 8192), 'user-2');
  INSERT INTO "AnalyticsDetails" ("id", "createdAt", "type", "data", "dataIndex", "userId") VALUES
    ('d-1', '2023-01-01', '', NULL, NULL, 'user-1'),
    ('d-2', '2023-01-01', 'a', 'null', '', 'user-1'),
    ('d-3', '2023-01-01', 'a', '{}', 'i', 'user-1'),
    ('d-4', '2023-01-01', 'a', '[1, {"value": 2}]', NULL, 'user-1'),
    ('d-5', '2023-01-01', 'a', '"text"', 'i', 'user-1'),
    ('d-6', '2023-01-01', 'a', '{"n": 12345678901234567890.123456789, "e": 1e400, "z": 0.10, "1": true, "é\\"": "\\ud83d\\ude00", "value": null}', 'i', 'user-1'),
    ('d-7', '2023-01-01', 'a', ('{"a":' || repeat('[', 150) || repeat(']', 150) || '}')::jsonb, 'i', 'user-1'),
    ('d-8', '2023-01-01', 'a', jsonb_build_object('large', repeat('é"', 1000000)), 'i', 'user-1'),
    ('0191-uuid', '2023-01-01', 'a', '{"value": 1}', 'i', 'user-1');`;

describe.skipIf(missingPostgres !== undefined)('the import from PostgreSQL', () => {
  let server: PostgresServer;
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
    server = startPostgres();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** Creates a schema with the original tables and some rows. Returns its name, and the URL without a password. */
  async function original(...rows: string[]): Promise<{ schema: string; url: string }> {
    const schema = `s${crypto.randomUUID().replaceAll('-', '')}`;
    await server.sql.unsafe(
      `CREATE SCHEMA "${schema}"; SET search_path = "${schema}"; ${ORIGINAL_TABLES} ${rows.join(';')}; RESET search_path`,
    );
    return { schema, url: server.url({ schema }, { password: '' }) };
  }
  const newFolder = () => join(folder.path, crypto.randomUUID());
  const environment = (dataDir: string) => ({ ...UNLIMITED, DATA_DIR: dataDir, PGPASSWORD: POSTGRES_PASSWORD });
  const run = (dataDir: string, ...args: string[]) => runCli(args, { env: environment(dataDir) });
  async function succeed(dataDir: string, ...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await run(dataDir, ...args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    return stdout;
  }

  test('imports rows, so that forwarding them gives equal rows; a second import changes nothing', async () => {
    const { schema, url } = await original(NASTY, ordinaryRows(1_200));
    const dataDir = newFolder();
    expect(await succeed(dataDir, 'import', url)).toBe('Imported 2413 records; 0 already stored.\n');
    const imported = KINDS.map((kind) => recordsIn(dataDir, kind));
    expect(await succeed(dataDir, 'import', url)).toBe('Imported 0 records; 2413 already stored.\n');
    expect(KINDS.map((kind) => recordsIn(dataDir, kind))).toEqual(imported);
    await succeed(dataDir, 'verify');

    const forwarded = await original();
    const sink = createPostgresSink({ url: new URL(server.url({ schema: forwarded.schema })), node: 'node-1' });
    await sink.prepare(NEVER);
    for (const [i, kind] of KINDS.entries()) {
      const records = imported[i] ?? [];
      expect(await sink.deliver({ kind, node: 'node-1', records }, NEVER)).toEqual({ rejected: [], postponed: [] });
    }
    await sink.close();
    for (const table of ['AnalyticsMetrics', 'AnalyticsDetails']) {
      for (const [a, b] of [
        [schema, forwarded.schema],
        [forwarded.schema, schema],
      ]) {
        const difference = await server.sql.unsafe(
          `SELECT * FROM "${a}"."${table}" EXCEPT SELECT * FROM "${b}"."${table}"`,
        );
        expect([table, difference.length]).toEqual([table, 0]);
      }
    }
  });

  test('exports keep the IDs and NULL of the original rows, also when they are imported again', async () => {
    const { url } = await original(NASTY);
    const dataDir = newFolder();
    await succeed(dataDir, 'import', url);
    const exported = await succeed(dataDir, 'export', '-');
    const lines = exported
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const of = (id: string) => lines.find(({ source_id }) => source_id === id);
    expect(of('m-1')).toMatchObject({
      timestamp: '2023-01-01T00:00:00.001Z',
      received_at: '2023-01-01T00:00:00.999Z',
      data_string: '',
      source_nulls: ['data_string'],
    });
    expect(of('m-2').source_nulls).toBeUndefined();
    expect(of('d-1')).toMatchObject({ data: {}, data_index: '', source_nulls: ['data_index', 'data'] });
    expect(of('d-4')).toMatchObject({ data: { value: [1, { value: 2 }] }, source_data: 'value' });
    const copy = newFolder();
    const file = join(folder.path, 'copy.ndjson');
    writeFileSync(file, exported);
    await succeed(copy, 'import', file);
    for (const kind of KINDS) expect(recordsIn(copy, kind)).toEqual(recordsIn(dataDir, kind));
  });

  test('gives rows of the same millisecond different IDs, and finds them again', async () => {
    const { url } =
      await original(`INSERT INTO "AnalyticsMetrics" SELECT 'same-' || n, '2024-01-01', '2024-01-01', 'a', n, 'b', 'user-1'
      FROM generate_series(1, 400) AS n`);
    const dataDir = newFolder();
    expect(await succeed(dataDir, 'import', url)).toStartWith('Imported 400 records');
    expect(await succeed(dataDir, 'import', url)).toBe('Imported 0 records; 400 already stored.\n');
    expect(new Set(recordsIn(dataDir, 'metric').map(({ id }) => id)).size).toBe(400);
  });

  test('an import that is killed is completed by the next one', async () => {
    const { url } = await original(ordinaryRows(3_000));
    const dataDir = newFolder();
    const child = Bun.spawn([...COMMAND, 'import', url], {
      env: environment(dataDir),
      stdout: 'ignore',
      stderr: 'ignore',
    });
    while (countIn(dataDir) === 0 && child.exitCode === null) await Bun.sleep(1);
    child.kill('SIGKILL');
    await child.exited;
    const before = countIn(dataDir);
    expect(before).toBeGreaterThan(0);
    const [, stored, known] =
      /^Imported (\d+) records; (\d+) already stored/.exec(await succeed(dataDir, 'import', url)) ?? [];
    expect(Number(stored) + Number(known)).toBe(6_000);
    expect(Number(known)).toBeGreaterThanOrEqual(before);
    await succeed(dataDir, 'verify');
    expect(countIn(dataDir)).toBe(6_000);
  });

  test('imports into the running server; an erasure also removes the original IDs, and no import brings them back', async () => {
    const { schema, url } = await original(ordinaryRows(900), NASTY);
    const target = await startTarget(UNLIMITED, { dataDir: newFolder() });
    try {
      await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${await token({ sub: 'user-1' })}` });
      const result = await succeed(target.dataDir, 'import', url, '--json');
      expect(JSON.parse(result)).toMatchObject({ stored: 1813, identical: 0, newer: 0, invalid: [] });
      const admin = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
      const page = async (user: string) =>
        (await send(`${target.url}/api/records/analytics?user_id=${user}&limit=1000`, { headers: admin })).body.records;
      expect((await page('user-1')).find((row: { source_id?: string }) => row.source_id === 'd-5')).toMatchObject({
        data: { value: 'text' },
        source_data: 'value',
      });
      const [row] = await server.sql.unsafe(
        `SELECT "id" FROM "${schema}"."AnalyticsMetrics" WHERE "userId" = 'user-1' AND "id" LIKE '%-%-%-%' LIMIT 1`,
      );
      expect((await send(`${target.url}/api/users/user-1`, { method: 'DELETE', headers: admin })).status).toBe(200);
      expect(await page('user-1')).toEqual([]);
      const [, stored, known] =
        /^Imported (\d+) records; (\d+) already stored/.exec(await succeed(target.dataDir, 'import', url)) ?? [];
      expect([stored, known]).toEqual(['0', '1602']);
      await target.stop();
      // the next start removes the copies that SQLite left when it moved rows
      await (await startTarget(UNLIMITED, { dataDir: target.dataDir })).stop();
      for (const name of readdirSync(target.dataDir).filter((name) => name.startsWith('rawlog.db'))) {
        expect(readFileSync(join(target.dataDir, name)).includes(String(row?.['id']))).toBe(false);
      }
      await succeed(target.dataDir, 'verify');
    } finally {
      if (target.process.exitCode === null) await target.stop();
    }
  });

  test('reports the rows that it does not accept, and those created after it began, and imports all others', async () => {
    const { url } = await original(
      `INSERT INTO "User" VALUES (E'tab\\t'); INSERT INTO "AnalyticsMetrics" VALUES
        ('bad-1', '2024-01-01', '2024-01-01', 'a', 'NaN', NULL, 'user-1'), ('bad-2', 'infinity', '2024-01-01', 'a', 1, NULL, 'user-1'),
        ('bad-3', '2024-01-01', '2024-01-01', 'a', 1, NULL, E'tab\\t'), ('bad-4', '2019-01-01', '2024-01-01', 'a', 1, NULL, 'user-1'),
        ('good', '2024-01-01', '2024-01-01', 'a', 1, NULL, 'user-1'), ('new', '2060-01-01', '2024-01-01', 'a', 1, NULL, 'user-1')`,
    );
    const { exitCode, stdout, stderr } = await run(newFolder(), 'import', url);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: 'Imported 1 record; 0 already stored.\n' });
    expect(stderr.trim().split('\n')).toEqual([
      '2 rows created after the import began. Run the command again to import them.',
      expect.stringMatching(/^1 row not imported: the time in its id is before 2020. First IDs: bad-4.$/),
      expect.stringMatching(/^1 row not imported: its value is not a finite number. First IDs: bad-1.$/),
      expect.stringMatching(/^1 row not imported: its user_id is not a valid user ID. First IDs: bad-3.$/),
    ]);
  });

  test('takes the password from a file, and never from the command line', async () => {
    const { url, schema } = await original(NASTY);
    const env = { ...UNLIMITED, DATA_DIR: newFolder() };
    const visible = await runCli(['import', server.url({ schema })], { env });
    expect(visible.exitCode).toBe(2);
    expect(visible.stderr).toContain('The URL contains a password');
    expect(visible.stderr).not.toContain(POSTGRES_PASSWORD);
    const wrong = await runCli(['import', url], { env: { ...env, PGPASSWORD: 'not-the-password' } });
    expect(wrong).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('the user or the password is not accepted'),
    });
    expect(existsSync(env.DATA_DIR)).toBe(false);
    const passwordFile = join(folder.path, 'password');
    writeFileSync(passwordFile, `${POSTGRES_PASSWORD}\n`);
    const { exitCode, stdout } = await runCli(['import', url, '--password-file', passwordFile], { env });
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'Imported 13 records; 0 already stored.\n' });
  });
});

/** Returns the stored records of a kind, as the forwarder reads them. */
function recordsIn(dataDir: string, kind: Kind): LogRecord[] {
  using client = new Database(join(dataDir, 'rawlog.db'), { readonly: true });
  const everything = { user: undefined, name: undefined, from: undefined, to: undefined };
  const limits = { rows: 100_000, bytes: 1e9 };
  return readWindow(client, kind, everything, { after: 0, end: Number.MAX_SAFE_INTEGER }, 'oldest', limits).rows.map(
    (row) => recordOf(kind, row),
  );
}

function recordOf(
  kind: Kind,
  { seq, id, user_id, happened_at, received_at, name, label, value, source }: RecordRow,
): LogRecord {
  const stamp = {
    seq,
    id,
    userId: user_id,
    happenedAt: happened_at,
    receivedAt: received_at,
    ...(source && { source }),
  };
  return kind === 'metric'
    ? { kind, ...stamp, metricName: name, metricValue: Number(value), dataString: label }
    : { kind, ...stamp, type: name, data: String(value), dataIndex: label };
}

/** Returns the number of stored rows; 0 if there is no database yet. */
function countIn(dataDir: string): number {
  try {
    using client = new Database(join(dataDir, 'rawlog.db'), { readonly: true });
    return (
      client
        .query<{ n: number }, []>('SELECT (SELECT count(*) FROM metrics) + (SELECT count(*) FROM analytics) AS n')
        .get()?.n ?? 0
    );
  } catch {
    return 0;
  }
}
