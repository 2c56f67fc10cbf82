import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { temporaryFolder } from './target.ts';

/** The server on Debian. */
const JAR = '/usr/share/java/zookeeper.jar';
const CLASS_PATH = '/usr/share/java/*:/etc/zookeeper/conf';
const MAIN_CLASS = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';

/** Whether the server is not installed; tests with it are skipped. */
export const isZooKeeperMissing = !existsSync(JAR);

/** Starts ZooKeeper on a free port, with its data in a temporary folder, and waits until it listens. */
export async function startZooKeeper(): Promise<{ readonly port: number } & AsyncDisposable> {
  const folder = temporaryFolder();
  const port = freePort();
  const path = join(folder.path, 'zoo.cfg');
  mkdirSync(join(folder.path, 'data'));
  const lines = [
    ...[`dataDir=${folder.path}/data`, `clientPort=${port}`, 'clientPortAddress=127.0.0.1', 'tickTime=500'],
    ...['admin.enableServer=false', 'maxClientCnxns=0', '4lw.commands.whitelist=ruok'],
  ];
  await Bun.write(path, `${lines.join('\n')}\n`);
  const child = Bun.spawn(['java', '-Xmx256m', '-cp', CLASS_PATH, MAIN_CLASS, path], {
    cwd: folder.path,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  for (const deadline = Date.now() + 60_000; !(await isOk(port)); await Bun.sleep(50)) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('ZooKeeper did not start');
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await child.exited;
      folder[Symbol.dispose]();
    },
  };
}

/** Asks ZooKeeper whether it is running without errors ("ruok"). */
async function isOk(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const closed = () => resolve(false);
  const socket = { data: (_: unknown, bytes: Uint8Array) => resolve(bytes.toString() === 'imok'), close: closed };
  try {
    const connection = await Bun.connect({ hostname: '127.0.0.1', port, socket: { ...socket, error: closed } });
    connection.write('ruok');
    const result = await promise;
    connection.end();
    return result;
  } catch {
    return false; // nothing listens yet
  }
}
