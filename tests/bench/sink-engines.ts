import { join } from 'node:path';
import { isClickHouseMissing, startClickHouse } from '../harness/clickhouse.ts';
import { hasNats, Nats } from '../harness/nats.ts';
import { missingPostgres, startPostgres } from '../harness/postgres.ts';

/** An engine that rows are forwarded to, on this machine. */
export interface SinkEngine extends AsyncDisposable {
  readonly title: string;
  /** Settings of the server that the URL does not contain. */
  readonly env: Readonly<Record<string, string>>;
  /** The first process of each of its programs. */
  readonly pids: readonly number[];
  /** How long recording must last, in seconds, for rows to be delivered meanwhile. Default: any time. */
  readonly leastSeconds?: number;
  /** Returns FORWARD_URL for a place in the engine, such as a database, which does not exist yet. */
  url(place: string): string;
}

/** Time in which 100,000 single requests are recorded at least twice, which is when an object of S3 is full. */
const S3_SECONDS = 10;

async function startClickHouseSink(): Promise<SinkEngine> {
  const server = await startClickHouse();
  return {
    title: `ClickHouse ${(await server.sql('SELECT version()')).trim()}`,
    env: {},
    pids: [server.pid],
    url: (place) => server.url(place).href,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Starts ClickHouse behind discarding-proxy.ts, so that storing rows costs nothing. */
async function startDiscardingSink(): Promise<SinkEngine> {
  const server = await startClickHouse();
  const script = join(import.meta.dir, 'discarding-proxy.ts');
  const proxy = Bun.spawn([process.execPath, script, `http://127.0.0.1:${server.port}`], { stdout: 'pipe' });
  const { port } = new URL(await firstLine(proxy.stdout));
  return {
    title: 'a proxy of ClickHouse that acknowledges inserts and discards their rows',
    env: {},
    pids: [server.pid, proxy.pid],
    url(place) {
      const url = server.url(place);
      url.port = port;
      return url.href;
    },
    async [Symbol.asyncDispose]() {
      proxy.kill();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function startPostgresSink(): Promise<SinkEngine> {
  const server = startPostgres(undefined, { settings: { fsync: 'on', shared_buffers: '128MB' } }); // its defaults
  const [version] = await server.sql<{ server_version: string }[]>`SHOW server_version`;
  return {
    title: `PostgreSQL ${version?.server_version}, tables of rawlog`,
    env: {},
    pids: [server.pid],
    url: (place) => server.url({ tables: 'rawlog', schema: place }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function startNatsSink(folder: string): Promise<SinkEngine> {
  const server = await Nats.start(folder);
  return {
    title: 'NATS JetStream, one server',
    env: {},
    pids: [server.pid],
    url: (place) => `nats://${server.host}/${place}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function startS3Sink(folder: string): Promise<SinkEngine> {
  const script = join(import.meta.dir, 's3-process.ts');
  const server = Bun.spawn([process.execPath, script, join(folder, 's3')], { stdout: 'pipe' });
  const { bucket, env } = JSON.parse(await firstLine(server.stdout)) as { bucket: string; env: Record<string, string> };
  return {
    title: 's3rver, which speaks S3',
    env,
    pids: [server.pid],
    leastSeconds: S3_SECONDS,
    url: (place) => `s3://${bucket}/${place}`,
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
    },
  };
}

/** Returns the first line that a process prints. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const { value } = await stream.getReader().read();
  return new TextDecoder().decode(value).split('\n')[0] ?? '';
}

const clickHouseMissing = isClickHouseMissing ? 'clickhouse-server' : undefined;

/** The engines by name, with the program that is missing here; undefined: none. The folder is for their files. */
export const SINK_ENGINES: Readonly<
  Record<string, { readonly start: (folder: string) => Promise<SinkEngine>; readonly missing: string | undefined }>
> = {
  discard: { start: startDiscardingSink, missing: clickHouseMissing },
  clickhouse: { start: startClickHouseSink, missing: clickHouseMissing },
  postgres: { start: startPostgresSink, missing: missingPostgres && 'postgresql' },
  nats: { start: startNatsSink, missing: hasNats ? undefined : 'nats-server' },
  s3: { start: startS3Sink, missing: undefined },
};
