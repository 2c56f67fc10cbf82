import { chmodSync, statfsSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ClickHouseServer, isClickHouseMissing } from '../harness/clickhouse.ts';
import { CLUSTER, startClickHouseCluster } from '../harness/clickhouse-cluster.ts';
import { hasNats, Nats } from '../harness/nats.ts';
import { missingPostgres, missingPostgresVersion, startPostgres } from '../harness/postgres.ts';
import { temporaryFolder } from '../harness/target.ts';
import { isZooKeeperMissing } from '../harness/zookeeper.ts';
import { loopVolume, noVolumes } from './volume.ts';

/** A fault, or its end. */
export interface Phase {
  readonly name: string;
  begin(): Promise<void> | void;
}

/** An engine with its faults. Beginning one must not block this process, which also runs the clients. After the last one, it works. */
export interface FaultyEngine extends AsyncDisposable {
  readonly title: string;
  /** As in FORWARD_URL. */
  readonly url: string;
  readonly phases: readonly Phase[];
  /** A user whose rows the engine rejects until the last phase. */
  readonly lateUser?: string;
  /** Returns the IDs of all stored metrics as a reader of the engine sees them, with repetitions. */
  ids(): Promise<string[]>;
}

/** Users that rows are divided among. */
export const FAULT_USERS: readonly string[] = Array.from({ length: 100 }, (_, i) => `user-${i}`);
const LATE_USER = 'late-user';
const DATABASE = 'rawlog';
const STREAM = 'rawlog';
const SHARDS = 2;
const REPLICAS = 2;
const NATS_SERVERS = 3;
const VOLUME_BYTES = 2 * 1024 ** 3;

/** Starts a ClickHouse cluster that loses a replica, a shard and all of its servers. */
async function startFaultyClickHouse(): Promise<FaultyEngine> {
  const cluster = await startClickHouseCluster(SHARDS, REPLICAS);
  const [first, second] = cluster.servers as [ClickHouseServer, ClickHouseServer];
  const lastShard = cluster.shards.at(-1) ?? [];
  const url = first.url(DATABASE);
  url.searchParams.set('cluster', CLUSTER);
  const kill = (servers: readonly ClickHouseServer[]) => Promise.all(servers.map((server) => server.kill('SIGKILL')));
  const start = (servers: readonly ClickHouseServer[]) => Promise.all(servers.map((server) => server.start()));
  const killed = (what: string, servers: readonly ClickHouseServer[]): Phase[] => [
    { name: `${what} killed`, begin: async () => void (await kill(servers)) },
    { name: `${what} back`, begin: async () => void (await start(servers)) },
  ];
  return {
    title: `ClickHouse, ${SHARDS} shards with ${REPLICAS} replicas`,
    url: url.href,
    phases: [
      ...killed('one replica', [second]),
      ...killed('one shard', lastShard),
      ...killed('the cluster', cluster.servers),
    ],
    async ids() {
      const ofShards = cluster.shards.map(async ([server]) => {
        // a replica may not have the newest rows of the other one yet
        await server?.sql(`SYSTEM SYNC REPLICA ${DATABASE}.rawlog_metrics_local`);
        const rows = await server?.rows<{ id: string }>(`SELECT id FROM ${DATABASE}.rawlog_metrics_local FINAL`);
        return rows?.map(({ id }) => id) ?? [];
      });
      return (await Promise.all(ofShards)).flat();
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

/**
 * Starts a PostgreSQL server that is killed, whose table is locked, and whose disk is full. A foreign key rejects the rows of a
 * user that is added at the end.
 */
async function startFaultyPostgres(version: string | undefined): Promise<FaultyEngine> {
  const volume = loopVolume(undefined, VOLUME_BYTES);
  chmodSync(dirname(volume.path), 0o755); // for the user that runs the server
  const server = startPostgres(volume.path, { version });
  const [{ server_version: running } = {}] = await server.sql`SHOW server_version`;
  const addUsers = (users: readonly string[]) =>
    server.sql`INSERT INTO "User" (id) SELECT unnest(${server.sql.array([...users])}::text[])`;
  await server.sql`CREATE TABLE "User" (id text PRIMARY KEY)`;
  await addUsers(FAULT_USERS);
  const ballast = join(volume.path, 'ballast');
  let unlock = () => {};
  return {
    title: `PostgreSQL ${running}`,
    url: server.url(),
    lateUser: LATE_USER,
    phases: [
      { name: 'killed', begin: () => server.kill() },
      { name: 'started', begin: () => server.start() },
      {
        name: 'table locked',
        async begin() {
          const locked = Promise.withResolvers<void>();
          const unlocked = Promise.withResolvers<void>();
          unlock = unlocked.resolve;
          void server.sql.begin(async (sql) => {
            await sql`LOCK TABLE "AnalyticsMetrics"`;
            locked.resolve();
            await unlocked.promise;
          });
          await locked.promise;
        },
      },
      { name: 'unlocked', begin: () => unlock() },
      {
        name: 'disk full',
        async begin() {
          const { bavail, bsize } = statfsSync(volume.path);
          const filled = Bun.spawn(['fallocate', '-l', String(bavail * bsize), ballast], { stderr: 'inherit' });
          if ((await filled.exited) !== 0) throw new Error('the disk could not be filled');
        },
      },
      {
        name: 'disk freed',
        async begin() {
          truncateSync(ballast);
          if (!server.isRunning()) await server.start();
        },
      },
      { name: 'missing user added', begin: async () => void (await addUsers([LATE_USER])) },
    ],
    async ids() {
      return (await server.sql<{ id: string }[]>`SELECT id FROM "AnalyticsMetrics"`).map(({ id }) => id);
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      volume[Symbol.dispose]();
    },
  };
}

/** Starts a NATS cluster that loses a server, the leader of the stream and all of its servers. */
async function startFaultyNats(): Promise<FaultyEngine> {
  const folder = temporaryFolder();
  const servers = await Nats.startCluster(folder.path, NATS_SERVERS);
  const [first] = servers as [Nats];
  const last = servers.at(-1) as Nats;
  let leader = last;
  return {
    title: `NATS JetStream, ${NATS_SERVERS} servers`,
    url: `nats://${first.host}/${STREAM}?replicas=${NATS_SERVERS}`,
    phases: [
      { name: 'one server killed', begin: () => last.kill() },
      { name: 'one server back', begin: () => last.start() },
      {
        name: 'leader killed',
        async begin() {
          const name = await first.manage(async (manager) => (await manager.streams.info(STREAM)).cluster?.leader);
          leader = servers[Number(name?.slice(1)) - 1] ?? last;
          await leader.kill();
        },
      },
      { name: 'leader back', begin: () => leader.start() },
      {
        name: 'the cluster killed',
        begin: async () => void (await Promise.all(servers.map((server) => server.kill()))),
      },
      {
        name: 'the cluster back',
        begin: async () => void (await Promise.all(servers.map((server) => server.start()))),
      },
    ],
    ids: () => first.ids(STREAM),
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

/** How to start an engine, and what it needs that is missing here; undefined: nothing. */
interface FaultyEngineKind {
  start(version: string | undefined): Promise<FaultyEngine>;
  /** @param version undefined for the one that the tests use */
  missing(version: string | undefined): string | undefined;
}

/** The engines by name. Only PostgreSQL can have another version. */
export const FAULTY_ENGINES: Readonly<Record<string, FaultyEngineKind>> = {
  clickhouse: {
    start: startFaultyClickHouse,
    missing: () => (isClickHouseMissing || isZooKeeperMissing ? 'clickhouse-server and zookeeper' : undefined),
  },
  postgres: {
    start: startFaultyPostgres,
    missing: (version) => (version === undefined ? missingPostgres : missingPostgresVersion(version)) ?? noVolumes,
  },
  nats: { start: startFaultyNats, missing: () => (hasNats ? undefined : 'nats-server') },
};
