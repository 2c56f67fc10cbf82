import { type ClickHouseServer, startClickHouse } from './clickhouse.ts';
import { freePort } from './free-port.ts';
import { startZooKeeper } from './zookeeper.ts';

/** The name of the cluster in URLs. */
export const CLUSTER = 'fleet';

/** A real cluster with ZooKeeper. */
export interface ClickHouseCluster extends AsyncDisposable {
  /** The replicas of each shard. */
  readonly shards: readonly (readonly ClickHouseServer[])[];
  /** All servers, the first shard's first. */
  readonly servers: readonly ClickHouseServer[];
}

/** Starts a cluster whose shards have the same number of replicas, and waits until every server responds. */
export async function startClickHouseCluster(shards: number, replicas: number): Promise<ClickHouseCluster> {
  await using started = new AsyncDisposableStack();
  const zookeeper = started.use(await startZooKeeper());
  const ports = Array.from({ length: shards }, () =>
    Array.from({ length: replicas }, () => ({ tcp: freePort(), replicas: freePort() })),
  );
  const shardElements = ports.map((nodes) => {
    const nodeElements = nodes.map(({ tcp }) => `<replica><host>127.0.0.1</host><port>${tcp}</port></replica>`);
    return `<shard><internal_replication>true</internal_replication>${nodeElements.join('')}</shard>`;
  });
  const shared = [
    `<zookeeper><node><host>127.0.0.1</host><port>${zookeeper.port}</port></node>`,
    '<session_timeout_ms>4000</session_timeout_ms></zookeeper>',
    `<remote_servers><${CLUSTER}>${shardElements.join('')}</${CLUSTER}></remote_servers>`,
    '<distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>',
  ];
  const servers = await Promise.all(
    ports.map((nodes, shard) =>
      Promise.all(
        nodes.map(async (nodePorts, replica) => {
          const macros = `<macros><shard>${shard + 1}</shard><replica>${replica + 1}</replica></macros>`;
          return started.use(await startClickHouse({ ports: nodePorts, config: [...shared, macros].join('') }));
        }),
      ),
    ),
  );
  const owned = started.move();
  return { shards: servers, servers: servers.flat(), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
