import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPostgresSink } from '../../src/forwarding/postgres/sink.ts';
import { type Sink, SinkConfigurationError } from '../../src/forwarding/sink.ts';
import type { AnalyticsRecord, LogRecord, MetricRecord } from '../../src/records.ts';
import { seqOfId } from '../../src/storage/record-id.ts';
import { missingPostgres, POSTGRES_PASSWORD, type PostgresServer, startPostgres } from '../harness/postgres.ts';
import { temporaryFolder } from '../harness/target.ts';

/*
 * The sink of the forwarder for PostgreSQL, with a real server. Each test uses a schema of its own.
 */

if (missingPostgres) console.warn(`skipped: ${missingPostgres}`);

const NEVER = new AbortController().signal;
/** When the first record was received, in milliseconds since 1970. */
const BEGIN = Date.UTC(2024, 5, 1);

describe.skipIf(missingPostgres !== undefined)('the PostgreSQL sink', () => {
  let server: PostgresServer;
  const open: Sink[] = [];
  beforeAll(() => {
    server = startPostgres();
  });
  afterAll(async () => {
    for (const sink of open) await sink.close();
    await server[Symbol.asyncDispose]();
  });

  const newSchema = () => `s${crypto.randomUUID().replaceAll('-', '')}`;
  function sinkOf(url: string): Sink {
    const sink = createPostgresSink({ url: new URL(url), node: 'node-1' });
    open.push(sink);
    return sink;
  }
  /** Creates a sink for a schema, with the tables that some statements create before. */
  async function prepared(schema: string, statements: string[] = [], parameters: Record<string, string> = {}) {
    await server.sql.unsafe(`CREATE SCHEMA "${schema}"`);
    for (const statement of statements) await server.sql.unsafe(statement.replaceAll('S.', `"${schema}".`));
    const sink = sinkOf(server.url({ schema, ...parameters }));
    await sink.prepare(NEVER);
    return sink;
  }
  const rowsOf = async (schema: string, table: string, columns: string) =>
    (await server.sql.unsafe(`SELECT ${columns} FROM "${schema}"."${table}" ORDER BY 1`)).map(
      (row): Record<string, unknown> => ({ ...row }),
    );
  const idsIn = async (schema: string, table: string) => (await rowsOf(schema, table, 'id')).map(({ id }) => id);

  test('creates the tables of the original service, and stores each row once, however blocks are cut', async () => {
    const schema = newSchema();
    const sink = sinkOf(server.url({ schema }));
    await sink.prepare(NEVER);
    await sink.prepare(NEVER);
    const metrics = [metric(1), metric(2, { metricValue: -0 }), metric(3, { metricValue: 5e-324 })];
    const events = [event(4), event(5, { data: '{"n":12345678901234567890.10,"é":"\\"😀"}', dataIndex: '' })];
    expect(await deliver(sink, metrics)).toEqual({ rejected: [], postponed: [] });
    expect(await deliver(sink, metrics.slice(1))).toEqual({ rejected: [], postponed: [] });
    await deliver(sink, events);
    await deliver(sink, [...events, event(6)]);
    const stored = await rowsOf(
      schema,
      'AnalyticsMetrics',
      '"id", "userId", "createdAt"::text, "updatedAt"::text, "analyticMetric", "value", "dataString"',
    );
    expect(stored).toEqual(
      metrics.map(({ id, metricValue }, i) => ({
        id,
        userId: 'user-1',
        createdAt: '2024-05-31 23:59:59.123',
        updatedAt: `2024-06-01 00:00:0${i + 1}`,
        analyticMetric: 'page_load_time',
        value: metricValue,
        dataString: '/dashboard',
      })),
    );
    expect(await rowsOf(schema, 'AnalyticsDetails', 'id, type, data::text, "dataIndex"')).toEqual([
      { id: event(4).id, type: 'tutorial_step', data: '{"step": 3}', dataIndex: 'step_3' },
      { id: event(5).id, type: 'tutorial_step', data: '{"n": 12345678901234567890.10, "é": "\\"😀"}', dataIndex: '' },
      { id: event(6).id, type: 'tutorial_step', data: '{"step": 3}', dataIndex: 'step_3' },
    ]);
  });

  test('sends imported rows back with their own IDs, NULL and values that are not objects', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    const source = { id: 'b7c1', isLabelNull: true, dataForm: 'object' } as const;
    await deliver(sink, [metric(1, { source, dataString: '' })]);
    await deliver(sink, [
      event(2, { source: { ...source, dataForm: 'null' }, dataIndex: '', data: '{}' }),
      event(3, { source: { id: 'b7c2', isLabelNull: false, dataForm: 'value' }, data: '{"value":[1,{"value":2}]}' }),
    ]);
    expect(await rowsOf(schema, 'AnalyticsMetrics', '"id", "dataString"')).toEqual([{ id: 'b7c1', dataString: null }]);
    expect(await rowsOf(schema, 'AnalyticsDetails', '"id", "data", "dataIndex"')).toEqual([
      { id: 'b7c1', data: null, dataIndex: null },
      { id: 'b7c2', data: [1, { value: 2 }], dataIndex: 'step_3' },
    ]);
  });

  test("stores every field in rawlog's own tables, with microseconds", async () => {
    const schema = newSchema();
    const sink = await prepared(schema, [], { tables: 'rawlog' });
    await deliver(sink, [metric(1)]);
    await deliver(sink, [event(2), event(3)]);
    await deliver(sink, [event(2)]);
    const stamps =
      "*, happened_at AT TIME ZONE 'UTC' || '' AS happened_at, received_at AT TIME ZONE 'UTC' || '' AS received_at";
    const stamp = ({ id, seq }: LogRecord, second: number) => ({
      id,
      seq: String(seq),
      node: 'node-1',
      source_id: null,
      user_id: 'user-1',
      happened_at: '2024-05-31 23:59:59.123999',
      received_at: `2024-06-01 00:00:0${second}`,
    });
    expect(await rowsOf(schema, 'rawlog_metrics', stamps)).toEqual([
      { ...stamp(metric(1), 1), metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' },
    ]);
    expect(await rowsOf(schema, 'rawlog_analytics', stamps)).toEqual(
      [2, 3].map((n) => ({ ...stamp(event(n), n), type: 'tutorial_step', data: { step: 3 }, data_index: 'step_3' })),
    );
  });

  test.each([{}, { tables: 'rawlog' }])('stores the rows of two nodes with equal keys (%j)', async (parameters) => {
    const schema = newSchema();
    const sink = await prepared(schema, [], parameters);
    const own = [1, 2, 3].map((n) => metric(n));
    const ofOther = own.map((record) => ({ ...record, id: record.id.replace(/.$/, 'f') }));
    // an import has moved it to another key
    const moved = { ...metric(9), seq: metric(10).seq };
    await deliver(sink, [...own, moved]);
    await deliver(sink, ofOther);
    const table = 'tables' in parameters ? 'rawlog_metrics' : 'AnalyticsMetrics';
    expect(await idsIn(schema, table)).toEqual([...own, ...ofOther, moved].map(({ id }) => id).sort());
    if ('tables' in parameters) {
      const [stored] = (await rowsOf(schema, table, 'id, seq')).slice(-1);
      expect(stored).toEqual({ id: moved.id, seq: String(metric(9).seq) });
    }
  });

  test('rejects the rows that PostgreSQL cannot store, without their values, and stores all others', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    const bad = [
      [10, { data: '{"secret":"\\u0000"}' }, 'a text contains a character that PostgreSQL cannot store'],
      [11, { data: '{"secret":"\\ud800"}' }, 'a value is not accepted'],
      [30, { data: '{"secret":1e999999}' }, 'a number is out of range'],
      [31, { type: 'secret\u0000' }, 'a text contains a character'],
      [50, { type: incompressible(1024) }, 'a row exceeds a limit of PostgreSQL'],
    ] as const;
    const changes = new Map<number, Partial<AnalyticsRecord>>(bad.map(([n, change]) => [n, change]));
    const { rejected, postponed } = await deliver(
      sink,
      Array.from({ length: 60 }, (_, i) => event(i, changes.get(i))),
    );
    expect(postponed).toEqual([]);
    expect(rejected.map(({ id, seq, reason }) => [id, seq, reason])).toEqual(
      bad.map(([n, , reason]) => [event(n).id, event(n).seq, expect.stringContaining(reason)]),
    );
    expect(JSON.stringify(rejected)).not.toContain('secret');
    expect(await idsIn(schema, 'AnalyticsDetails')).toHaveLength(55);
  });

  test('postpones rows of users that the foreign key does not know, until they are added', async () => {
    const schema = newSchema();
    const sink = await prepared(schema, [
      'CREATE TABLE S."User" ("id" text PRIMARY KEY)',
      `INSERT INTO S."User" VALUES ('user-1')`,
    ]);
    const rows = [event(1), event(2, { userId: 'user-2' }), event(3)];
    const { rejected, postponed } = await deliver(sink, rows);
    expect(rejected).toEqual([]);
    expect(postponed).toEqual([{ id: event(2).id, seq: event(2).seq, reason: 'the table of users has no such user' }]);
    expect(await idsIn(schema, 'AnalyticsDetails')).toEqual([event(1).id, event(3).id]);
    await server.sql`INSERT INTO ${server.sql(schema)}."User" VALUES ('user-2')`;
    expect((await deliver(sink, rows)).postponed).toEqual([]);
    expect(await idsIn(schema, 'AnalyticsDetails')).toHaveLength(3);
  });

  test('postpones them too if the foreign key was added later, or is only checked at the commit', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    await server.sql.unsafe(`SET search_path = "${schema}"; CREATE TABLE "User" ("id" text PRIMARY KEY);
      ALTER TABLE "AnalyticsMetrics" ADD FOREIGN KEY ("userId") REFERENCES "User" ("id") DEFERRABLE INITIALLY DEFERRED;
      INSERT INTO "User" VALUES ('user-1'); RESET search_path`);
    const { postponed } = await deliver(sink, [metric(1), metric(2, { userId: 'user-2' }), metric(3)]);
    expect(postponed.map(({ id }) => id)).toEqual([metric(2).id]);
    expect(await idsIn(schema, 'AnalyticsMetrics')).toEqual([metric(1).id, metric(3).id]);
  });

  test('accepts existing tables with additional columns, and reports rows that a trigger discards', async () => {
    const schema = newSchema();
    const sink = await prepared(schema, [
      `CREATE TABLE S."AnalyticsMetrics" ("id" varchar PRIMARY KEY, "createdAt" timestamp(3) NOT NULL, "updatedAt" timestamp(3) NOT NULL,
        "analyticMetric" text NOT NULL, "value" double precision NOT NULL, "dataString" text, "userId" text NOT NULL, extra int)`,
      `CREATE FUNCTION S.discard() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW."value" < 0 THEN RETURN NULL; END IF; RETURN NEW; END$$`,
      'CREATE TRIGGER discard BEFORE INSERT ON S."AnalyticsMetrics" FOR EACH ROW EXECUTE FUNCTION S.discard()',
    ]);
    const rows = [metric(1), metric(2, { metricValue: -1 }), metric(3)];
    for (const _ of [1, 2]) {
      expect((await deliver(sink, rows)).rejected).toEqual([
        { id: metric(2).id, seq: metric(2).seq, reason: expect.stringContaining('a trigger or a rule discarded it') },
      ]);
    }
  });

  const INCOMPATIBLE = [
    ['"value" text', 'has a column "value" of type text, not double precision'],
    ['', 'has no column "value"'],
    ['"value" double precision, "kind" text NOT NULL', 'has a required column "kind"'],
  ] as const;
  test.each(INCOMPATIBLE)('rejects a table with other columns: %s', async (columns, message) => {
    const table = `CREATE TABLE S."AnalyticsMetrics" ("id" text PRIMARY KEY, "createdAt" timestamp(3), "updatedAt" timestamp(3),
      "analyticMetric" text, "dataString" text, "userId" text ${columns && `, ${columns}`})`;
    const error = await rejection(prepared(newSchema(), [table]));
    expect(error).toBeInstanceOf(SinkConfigurationError);
    expect(error.message).toContain(message);
  });

  test('rejects a table without a unique index on the ID', async () => {
    const table = `CREATE TABLE S."AnalyticsMetrics" ("id" text, "createdAt" timestamp(3), "updatedAt" timestamp(3),
      "analyticMetric" text, "value" double precision, "dataString" text, "userId" text)`;
    expect((await rejection(prepared(newSchema(), [table]))).message).toContain('has no unique index on "id"');
  });

  test.each([{}, { tables: 'rawlog' }])('erases the rows of a user up to the cutoff only (%j)', async (parameters) => {
    const schema = newSchema();
    const sink = await prepared(schema, [], parameters);
    const [metrics, events] =
      'tables' in parameters ? ['rawlog_metrics', 'rawlog_analytics'] : ['AnalyticsMetrics', 'AnalyticsDetails'];
    const source = (n: number) => ({ id: `f0${n}`, isLabelNull: false, dataForm: 'object' }) as const;
    const imported = (n: number) => metric(n, { source: source(n), happenedAt: metric(n).receivedAt });
    await deliver(sink, [metric(1), metric(2, { userId: 'user-2' }), imported(3), metric(4), metric(5), imported(6)]);
    await deliver(sink, [event(1), event(5)]);
    const cutoff = metric(4);
    await sink.erase({ userId: 'user-1', cutoffSeq: cutoff.seq, cutoffId: cutoff.id }, NEVER);
    const kept = [metric(2), metric(5), imported(6)].map(({ id, source }) =>
      'tables' in parameters ? id : (source?.id ?? id),
    );
    expect(await idsIn(schema, metrics)).toEqual(kept.sort());
    expect(await idsIn(schema, events)).toEqual([event(5).id]);
  });

  test('a locked table makes deliver reject, and so does an abort; then the rows are stored', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    await server.sql.begin(async (lock) => {
      await lock.unsafe(`LOCK TABLE "${schema}"."AnalyticsMetrics" IN ACCESS EXCLUSIVE MODE`);
      const canceled = new AbortController();
      const delivery = sink.deliver({ kind: 'metric', node: 'node-1', records: [metric(1)] }, canceled.signal);
      canceled.abort(new Error('the forwarder stops'));
      expect((await rejection(delivery)).message).toBe('the forwarder stops');
      expect((await rejection(deliver(sink, [metric(1)]))).message).toContain('a lock was not available in time');
    });
    expect(await deliver(sink, [metric(1)])).toEqual({ rejected: [], postponed: [] });
    expect(await idsIn(schema, 'AnalyticsMetrics')).toEqual([metric(1).id]);
  });

  test('a server without resources, or that is read-only, makes deliver reject', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    // the SQLSTATE of a full disk, as the server reports it
    await server.sql.unsafe(`CREATE FUNCTION "${schema}".fill() RETURNS trigger LANGUAGE plpgsql AS
      $$BEGIN RAISE EXCEPTION 'could not extend file "secret"' USING ERRCODE = '53100'; END$$;
      CREATE TRIGGER fill BEFORE INSERT ON "${schema}"."AnalyticsMetrics" EXECUTE FUNCTION "${schema}".fill()`);
    const full = await rejection(deliver(sink, [metric(1), metric(2)]));
    expect(full.message).toBe('PostgreSQL: the disk of the server is full (SQLSTATE 53100)');
    await server.sql.unsafe(`DROP TRIGGER fill ON "${schema}"."AnalyticsMetrics"`);
    await server.sql.unsafe(`CREATE ROLE reader LOGIN PASSWORD '${POSTGRES_PASSWORD}' CONNECTION LIMIT 1;
      ALTER ROLE reader SET default_transaction_read_only = on;
      GRANT USAGE ON SCHEMA "${schema}" TO reader; GRANT ALL ON ALL TABLES IN SCHEMA "${schema}" TO reader`);
    const reader = sinkOf(server.url({ schema }, { user: 'reader' }));
    await reader.prepare(NEVER);
    expect((await rejection(deliver(reader, [metric(1)]))).message).toContain('the database is read-only');
    const second = sinkOf(server.url({ schema }, { user: 'reader' }));
    const crowded = await rejection(second.prepare(NEVER));
    expect(crowded.message).toContain('too many connections');
    expect(crowded).not.toBeInstanceOf(SinkConfigurationError);
    await reader.close();
    await server.sql`ALTER ROLE reader SET default_transaction_read_only = off`;
    expect(await deliver(second, [metric(1)])).toEqual({ rejected: [], postponed: [] });
  });

  test('reports credentials and privileges as configuration errors, without the credentials', async () => {
    await server.sql.unsafe(`CREATE ROLE nobody LOGIN PASSWORD '${POSTGRES_PASSWORD}'`);
    const cases = [
      [server.url({}, { password: 'not-the-password' }), 'the user or the password is not accepted'],
      [server.url({}, { user: 'unknown-user' }), 'the user or the password is not accepted'],
      [server.url().replace('/postgres?', '/unknown-database?'), 'the database does not exist'],
      [server.url({ schema: newSchema() }, { user: 'nobody' }), 'the user lacks a privilege'],
      [server.url({ passfile: '/nonexistent' }, { password: '' }), 'the password file cannot be read'],
    ] as const;
    for (const [url, message] of cases) {
      const error = await rejection(sinkOf(url).prepare(NEVER));
      expect(error).toBeInstanceOf(SinkConfigurationError);
      expect(error.message).toContain(message);
      for (const part of ['not-the-password', 'unknown-user', POSTGRES_PASSWORD])
        expect(error.message).not.toContain(part);
    }
  });

  test('takes the password from a password file, and uses TLS as sslmode says', async () => {
    using folder = temporaryFolder();
    const passfile = join(folder.path, 'pgpass');
    writeFileSync(passfile, `# comment\nother:*:*:*:wrong\nlocalhost:${server.port}:postgres:*:${POSTGRES_PASSWORD}\n`);
    const url = (parameters: Record<string, string>) =>
      server.url({ passfile, schema: newSchema(), ...parameters }, { password: '', host: 'localhost' });
    const { certificate } = server;
    for (const [mode, parameters, isTls] of [
      ['disable', {}, false],
      ['prefer', {}, true],
      ['require', {}, true],
      ['verify-ca', { sslrootcert: certificate }, true],
      ['verify-full', { sslrootcert: certificate }, true],
    ] as const) {
      const sink = sinkOf(url({ sslmode: mode, ...parameters }));
      await sink.prepare(NEVER);
      const [state] = await server.sql`SELECT bool_or(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'rawlog' AND client_addr IS NOT NULL`;
      expect([mode, state?.['ssl']]).toEqual([mode, isTls]);
      await sink.close();
    }
    const byAddress = url({ sslmode: 'verify-full', sslrootcert: certificate }).replace('@localhost', '@127.0.0.1');
    for (const unverified of [url({ sslmode: 'verify-full' }), byAddress]) {
      expect((await rejection(sinkOf(unverified).prepare(NEVER))).message).toContain('the connection failed');
    }
  });

  test('a server that is killed makes deliver reject; restarted, it stores the rows once', async () => {
    const schema = newSchema();
    const sink = await prepared(schema);
    await deliver(sink, [metric(1)]);
    server.kill();
    for (const _ of [1, 2]) {
      expect((await rejection(deliver(sink, [metric(1), metric(2)]))).message).toContain('the connection failed');
    }
    await server.start();
    expect(await deliver(sink, [metric(1), metric(2)])).toEqual({ rejected: [], postponed: [] });
    expect(await idsIn(schema, 'AnalyticsMetrics')).toEqual([metric(1).id, metric(2).id]);
  });

  test('a server that closes connections, or that never responds, makes prepare reject', async () => {
    using closing = Bun.listen({
      hostname: '127.0.0.1',
      port: 0,
      socket: { open: (socket) => void socket.end(), data() {} },
    });
    using silent = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
    const url = (port: number) => `postgres://user@127.0.0.1:${port}/db?connect_timeout=1&sslmode=disable`;
    expect((await rejection(sinkOf(url(closing.port)).prepare(NEVER))).message).toContain('the connection failed');
    expect((await rejection(sinkOf(url(silent.port)).prepare(NEVER))).message).toContain('the connection failed');
  });
});

/** Returns a text of letters that PostgreSQL cannot compress, and whose UTF-8 has three bytes per letter. */
function incompressible(length: number): string {
  let state = 1;
  return String.fromCharCode(
    ...Array.from({ length }, () => {
      state = (state * 48_271) % 2_147_483_647;
      return 0x4e00 + (state % 20_000);
    }),
  );
}

/** The fields that the server assigns to record `n`: received `n` seconds after {@link BEGIN}. */
function stampOf(n: number) {
  const millisecond = BEGIN + n * 1000;
  const hex = millisecond.toString(16).padStart(12, '0');
  const id = `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${n.toString(16).padStart(12, '0')}`;
  return {
    seq: seqOfId(id),
    id,
    userId: 'user-1',
    happenedAt: (BEGIN - 877) * 1000 + 999,
    receivedAt: millisecond * 1000,
  };
}

function metric(n: number, change: Partial<MetricRecord> = {}): MetricRecord {
  const fields = { metricName: 'page_load_time', metricValue: 2.5, dataString: '/dashboard' };
  return { kind: 'metric', ...stampOf(n), ...fields, ...change };
}

function event(n: number, change: Partial<AnalyticsRecord> = {}): AnalyticsRecord {
  const fields = { type: 'tutorial_step', data: '{"step":3}', dataIndex: 'step_3' };
  return { kind: 'analytics', ...stampOf(n), ...fields, ...change };
}

function deliver(sink: Sink, records: readonly LogRecord[]) {
  return sink.deliver({ kind: records[0]?.kind ?? 'metric', node: 'node-1', records }, NEVER);
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => new Error('it resolved'),
    (reason: unknown) => reason,
  );
  return error as Error; // everything that is thrown is one
}
