import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { freePort } from './free-port.ts';

/** Whether the NATS server is installed. */
export const hasNats = Bun.which('nats-server') !== null;
if (!hasNats) console.warn('SKIPPED: tests of NATS require nats-server');

/** A message of a stream. */
export interface StreamMessage {
  readonly subject: string;
  readonly id: string;
  readonly body: Record<string, unknown>;
}

/** A NATS server with JetStream, which can be killed and started again with the same data and port. */
export class Nats {
  readonly #folder: string;
  readonly port: number;
  readonly #flags: readonly string[];
  #process: Bun.Subprocess | undefined;

  private constructor(folder: string, port: number, flags: readonly string[]) {
    this.#folder = folder;
    this.port = port;
    this.#flags = flags;
  }

  /** Starts a server. */
  static async start(folder: string, ...flags: string[]): Promise<Nats> {
    const nats = new Nats(folder, freePort(), flags);
    await nats.start();
    return nats;
  }

  /** Starts the servers of a cluster, named `n1`, `n2` and so on, and waits until its JetStream has a leader. */
  static async startCluster(folder: string, size: number): Promise<Nats[]> {
    const ports = Array.from({ length: size }, freePort);
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
    const servers = await Promise.all(
      routes.map((route, i) => {
        const name = `n${i + 1}`;
        const cluster = ['--cluster_name', 'fleet', '--cluster', route, '--routes', routes.join(',')];
        return Nats.start(join(folder, name), '-n', name, ...cluster);
      }),
    );
    for (const server of servers) {
      await eventually(() =>
        server
          .manage((manager) => manager.getAccountInfo())
          .then(
            () => true,
            () => false,
          ),
      );
    }
    return servers;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The ID of its process, which changes with {@link start}. */
  get pid(): number {
    return this.#process?.pid ?? Number.NaN;
  }

  async start(): Promise<void> {
    const store = join(this.#folder, 'jetstream');
    this.#process = Bun.spawn(
      ['nats-server', '-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', store, ...this.#flags],
      { stdout: 'ignore', stderr: 'ignore' },
    );
    while (!(await accepts(this.port))) await Bun.sleep(10);
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#process?.exited;
  }

  /** Suspends the process: its port still accepts connections. */
  suspend(): void {
    this.#process?.kill('SIGSTOP');
  }

  resume(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Runs work with a connection. */
  async manage<Result>(work: (manager: JetStreamManager) => Promise<Result>): Promise<Result> {
    const connection = await connect({ servers: this.host, user: 'tester', pass: 'tester-password' });
    try {
      return await work(await jetstreamManager(connection));
    } finally {
      await connection.close();
    }
  }

  /** Publishes a message to a stream, as another program does. */
  async publish(subject: string, data: Uint8Array, msgID: string): Promise<void> {
    const connection = await connect({ servers: this.host });
    try {
      await jetstream(connection).publish(subject, data, { msgID });
    } finally {
      await connection.close();
    }
  }

  /** Returns all messages of a stream, or none if it does not exist. */
  async messages(stream: string): Promise<StreamMessage[]> {
    return this.manage(async (manager) => {
      const found = await manager.streams.info(stream).catch(() => undefined);
      if (!found) return [];
      const { first_seq, last_seq } = found.state;
      const messages: StreamMessage[] = [];
      for (let seq = first_seq; seq <= last_seq; seq++) {
        const message = await manager.streams.getMessage(stream, { seq });
        if (message) {
          const { subject, header } = message;
          messages.push({ subject, id: header.get('Nats-Msg-Id'), body: message.json() });
        }
      }
      return messages;
    });
  }

  /** Returns the IDs of all messages of a stream, with repetitions, as a consumer receives them. */
  async ids(stream: string): Promise<string[]> {
    const connection = await connect({ servers: this.host });
    try {
      const consumer = await jetstream(connection).consumers.get(stream, { headers_only: true });
      const ids: string[] = [];
      for await (const { headers, info } of await consumer.consume({ max_messages: 10_000 })) {
        ids.push(headers?.get('Nats-Msg-Id') ?? '');
        if (info.pending === 0) break;
      }
      return ids;
    } finally {
      await connection.close();
    }
  }

  /** Returns the number of messages of a stream; 0 if it does not exist or the server does not respond. */
  async count(stream: string): Promise<number> {
    try {
      return await this.manage(async (manager) => (await manager.streams.info(stream)).state.messages);
    } catch {
      return 0;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Polls until a probe returns a value other than undefined or false. */
export async function eventually<Value>(probe: () => Promise<Value | undefined | false> | Value | undefined | false) {
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    await Bun.sleep(20);
  }
}

async function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connectTcp({ port, host: '127.0.0.1' });
  socket.once('data', () => resolve(true)); // the server speaks first
  socket.once('error', () => resolve(false));
  const accepted = await promise;
  socket.destroy();
  return accepted;
}
