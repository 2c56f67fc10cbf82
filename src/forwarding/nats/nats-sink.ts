import {
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  type NextMsgRequest,
  type SeqMsgRequest,
  type StreamInfo,
} from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { recordJson, rowOf } from '../../export/encode.ts';
import { KINDS, type LogRecord } from '../../records.ts';
import {
  type Block,
  type Outcome,
  type RefusedRow,
  type Sink,
  SinkConfigurationError,
  type SinkErasure,
  type SinkOptions,
  SinkUnavailableError,
} from '../sink.ts';
import { isCovered, subjectOf } from './subject.ts';
import { Window } from './window.ts';

/*
 * NATS JetStream: one message per row, with the row as JSON and its ID as `Nats-Msg-Id`. The stream drops a message whose
 * ID it has seen within its `duplicate_window`.
 */

/** Messages, and bytes of them, that wait for their acknowledgment at the same time. */
const WINDOW = { messages: 1_000, bytes: 8 * 1024 * 1024 };
/** How long the server may take to accept a connection, or to respond to a request, in milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000;
/** How long the library waits before it connects again, in milliseconds. The forwarder's own waits come on top. */
const RECONNECT_WAIT_MS = 250;
/** How long a stream that is created here remembers IDs: the default of NATS. Each takes about 150 bytes of its memory. */
const DUPLICATE_WINDOW_NS = 120e9;
/** Room for the header of a message, which contains its ID. */
const HEADER_BYTES = 256;

/** Error codes of JetStream (https://github.com/nats-io/nats-server/blob/main/server/errors.json). */
const STREAM_NOT_FOUND = 10059;
const MESSAGE_TOO_LARGE = 10054;
const STREAM_MISMATCH = 10060;
const NOT_ENABLED: ReadonlySet<number> = new Set([10039, 10076]);

const UNREACHABLE = 'the server cannot be reached';

/** A link to a server, until it is lost. */
class Link {
  isLost = false;
  readonly #lost = Promise.withResolvers<never>();

  constructor() {
    this.lost.catch(() => {}); // nobody may wait for it
  }

  /** Rejects once the link is lost. */
  get lost(): Promise<never> {
    return this.#lost.promise;
  }

  lose(): void {
    this.isLost = true;
    this.#lost.reject(new SinkUnavailableError(UNREACHABLE));
  }
}

/** Creates the sink of `nats://HOST/STREAM`. */
export function createNatsSink({ url, node }: SinkOptions): Sink {
  const stream = url.pathname.slice(1);
  let connection: NatsConnection | undefined;
  let client: JetStreamClient | undefined;
  let manager: JetStreamManager | undefined;
  let link = new Link();

  /** Connects, unless there is a connection. The library reconnects by itself, also to other servers of the cluster. */
  async function open(): Promise<JetStreamManager> {
    if (connection && !connection.isClosed() && manager) {
      if (link.isLost) throw new SinkUnavailableError(UNREACHABLE);
      return manager;
    }
    const [user, pass] = [url.username, url.password].map(decodeURIComponent);
    connection = await connect({
      servers: url.host,
      name: `rawlog ${node}`,
      timeout: REQUEST_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      noAsyncTraces: true, // a stack per request costs as much as the request
      reconnectTimeWait: RECONNECT_WAIT_MS,
      reconnectJitter: RECONNECT_WAIT_MS,
      ...(user && (pass ? { user, pass } : { token: user })),
      ...(url.searchParams.get('tls') === 'on' && { tls: {} }),
    });
    link = new Link();
    void watch(connection);
    client = jetstream(connection, { timeout: REQUEST_TIMEOUT_MS });
    manager = await jetstreamManager(connection, { timeout: REQUEST_TIMEOUT_MS, checkAPI: false });
    return manager;
  }

  /** Follows whether there is a link to a server. Requests that were sent on a lost one get no response. */
  async function watch(watched: NatsConnection): Promise<void> {
    for await (const { type } of watched.status()) {
      if (watched !== connection) return;
      if (type === 'disconnect') link.lose();
      if (type === 'reconnect') link = new Link();
    }
  }

  /** Runs work until the link is lost. */
  async function linked<Result>(work: () => Promise<Result>): Promise<Result> {
    await open();
    return Promise.race([work(), link.lost]);
  }

  async function createStream(to: JetStreamManager): Promise<StreamInfo> {
    return to.streams.add({
      name: stream,
      subjects: [`${stream}.>`],
      num_replicas: Number(url.searchParams.get('replicas') ?? 1),
      duplicate_window: DUPLICATE_WINDOW_NS,
    });
  }

  /** Publishes a record. Returns why the stream will never accept it; undefined once it has stored it. */
  async function publish(record: LogRecord, payload: Uint8Array): Promise<string | undefined> {
    const limit = connection?.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (payload.length + HEADER_BYTES > limit) return `larger than the server's max_payload of ${limit} bytes`;
    try {
      if (!client) throw new SinkUnavailableError('not connected');
      await client.publish(subjectOf(stream, record.kind, record.userId), payload, {
        msgID: record.id,
        expect: { streamName: stream },
      });
      return undefined;
    } catch (error) {
      if (codeOf(error) === MESSAGE_TOO_LARGE) return "larger than the stream's max_msg_size";
      throw error;
    }
  }

  return {
    prepare: () =>
      translated(() =>
        linked(async () => {
          const to = await open();
          const { config } = await to.streams.info(stream).catch((error: unknown) => {
            if (codeOf(error) !== STREAM_NOT_FOUND) throw error;
            return createStream(to);
          });
          const subjects = config.subjects ?? [];
          if (!KINDS.every((kind) => isCovered(subjects, subjectOf(stream, kind, '')))) {
            throw new SinkConfigurationError(`the stream ${stream} lacks the subject ${stream}.>`);
          }
          if (config.no_ack) throw new SinkConfigurationError(`the stream ${stream} acknowledges no messages (no_ack)`);
        }),
      ),

    deliver: ({ kind, records }: Block, signal) =>
      translated(() =>
        linked(async () => {
          const used = link;
          const rejected: RefusedRow[] = [];
          let failure: { readonly error: unknown } | undefined;
          const window = new Window(WINDOW);
          const send = async (record: LogRecord, payload: Uint8Array) => {
            window.add(payload.length);
            try {
              const reason = await publish(record, payload);
              if (reason !== undefined) rejected.push({ id: record.id, seq: record.seq, reason });
            } catch (error) {
              failure ??= { error };
            }
            window.remove(payload.length);
          };
          for (const record of records) {
            const payload = Buffer.from(recordJson(kind, rowOf(record)));
            if (!window.hasRoom(payload.length)) await window.room(payload.length);
            if (failure || used.isLost || signal.aborted) break;
            void send(record, payload);
          }
          await window.empty();
          signal.throwIfAborted();
          if (failure) throw (failure as { readonly error: unknown }).error; // assigned in a callback
          return { rejected: rejected.sort((a, b) => a.seq - b.seq), postponed: [] } satisfies Outcome;
        }),
      ),

    erase: ({ userId, cutoffId }: SinkErasure, signal) =>
      translated(() =>
        linked(async () => {
          const to = await open();
          for (const kind of KINDS) {
            const subject = subjectOf(stream, kind, userId);
            for (let seq = 1; ; ) {
              signal.throwIfAborted();
              const next: NextMsgRequest & SeqMsgRequest = { seq, next_by_subj: subject };
              const message = await to.streams.getMessage(stream, next);
              if (!message) break;
              seq = message.seq + 1;
              const id = message.header?.get('Nats-Msg-Id') ?? '';
              const isErased = id !== '' && id <= cutoffId && userIn(message.data) === userId;
              // with `true`, the server overwrites the message before it deletes it
              if (isErased) await to.streams.deleteMessage(stream, message.seq, true);
            }
          }
        }),
      ),

    async close() {
      const last = connection;
      connection = undefined;
      manager = undefined;
      client = undefined;
      await last?.close();
    },
  };
}

/** Returns the user in a message; undefined if it is not one of ours, since others may publish to the stream too. */
function userIn(data: Uint8Array): unknown {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
    return typeof value === 'object' && value !== null && 'user_id' in value ? value.user_id : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the JetStream error code of an error; undefined if it is another error. */
function codeOf(error: unknown): number | undefined {
  return error instanceof JetStreamApiError ? error.code : undefined;
}

/** Runs work and converts its errors to those whose messages the operator may read. */
async function translated<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof SinkUnavailableError) throw error;
    const code = codeOf(error);
    if (code === STREAM_MISMATCH) {
      throw new SinkConfigurationError('another stream stores the subjects of this one', { cause: error });
    }
    if (code !== undefined && NOT_ENABLED.has(code)) {
      throw new SinkConfigurationError('JetStream is not enabled for this account', { cause: error });
    }
    // the descriptions of JetStream's errors contain no rows
    if (code !== undefined)
      throw new SinkUnavailableError(`JetStream error ${code}: ${error.message}`, { cause: error });
    switch (error.name) {
      case 'AuthorizationError':
      case 'UserAuthenticationExpiredError':
        throw new SinkConfigurationError('the server rejects the credentials', { cause: error });
      case 'PermissionViolationError':
        throw new SinkConfigurationError('the user may not publish to the stream or manage it', { cause: error });
      case 'JetStreamNotEnabled':
      case 'NoRespondersError':
        throw new SinkUnavailableError('JetStream does not respond', { cause: error });
      case 'TimeoutError':
        throw new SinkUnavailableError('the server did not respond in time', { cause: error });
      case 'ConnectionError':
      case 'ClosedConnectionError':
        throw new SinkUnavailableError(UNREACHABLE, { cause: error });
      default:
        throw error;
    }
  }
}
