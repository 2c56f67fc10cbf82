import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { ForwardUrl } from '../formats/forward-url.ts';
import type { S3Access } from '../formats/s3.ts';
import type { SinkStatus } from './status.ts';
import type { Command, CommandResults, Message, Report, WorkerOptions } from './worker.ts';

/** Delay before the worker is restarted after an unexpected exit, in milliseconds. Doubles after each exit. */
const RESTART_DELAY_MS = { initial: 500, max: 30_000 };
/** Time that the worker has to store its cursors at shutdown, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/** The client of the forwarder's thread. */
export interface ForwardingClient {
  /** Returns the sinks as they were about a second ago; undefined before the first report. */
  statuses(): readonly SinkStatus[] | undefined;
  /**
   * Runs a command.
   *
   * @throws {Error} with a message for the operator, if it fails or the worker is not running
   */
  run<Name extends Command['do']>(command: Command & { readonly do: Name }): Promise<CommandResults[Name]>;
  /** Replaces the URLs and the credentials of S3, if they differ. */
  configure(urls: readonly ForwardUrl[], s3: S3Access): Promise<void>;
  /** Stops the worker. Takes a few seconds at most. */
  close(): Promise<void>;
  /** Ends the worker at once, so that it does not write to the database any more. Its last rows are delivered again. */
  abandon(): Promise<void>;
}

/** Options of {@link createForwardingClient}. */
export interface ForwardingOptions extends Omit<WorkerOptions, 'node'> {
  /** Returns NODE_ID. Called only if there are URLs, and again if it has thrown because it cannot be read. */
  readonly nodeId: () => string;
  /** The URL of worker.ts. Created in server.ts, because the binary resolves it relative to the entry point. */
  readonly worker: URL;
  /** Called after the worker has committed a transaction. Must not throw. */
  readonly onSaved: () => void;
  readonly log: Logger;
}

/** The promise of a command. */
interface PendingCommand {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Starts the forwarder in a thread, and restarts it if it exits unexpectedly. Without URLs, nothing is loaded. */
export function createForwardingClient({
  worker: workerUrl,
  onSaved,
  nodeId,
  log,
  ...options
}: ForwardingOptions): ForwardingClient {
  const pending = new Map<number, PendingCommand>();
  let { urls, s3 } = options;
  let lastId = 0;
  let isClosed = false;
  let exits = 0;
  let statuses: readonly SinkStatus[] | undefined;
  let restartTimer: ReturnType<typeof setTimeout> | undefined;
  let node: string | undefined;
  let worker: Worker | undefined;
  /** Resolves once no worker is being stopped. */
  let stopped: Promise<unknown> = Promise.resolve();
  start();

  /** Starts the worker, now or later. Never throws: the server records without it. */
  function start(): void {
    if (urls.length === 0) {
      statuses = [];
      return;
    }
    try {
      node ??= nodeId();
      worker = launch(node);
    } catch (error) {
      const delay = startLater();
      log.error({ err: error, delay_ms: delay }, 'the forwarder could not be started; retrying');
    }
  }

  /** Starts the worker after a delay, which is returned. */
  function startLater(): number {
    const delay = Math.min(RESTART_DELAY_MS.initial * 2 ** exits++, RESTART_DELAY_MS.max);
    clearTimeout(restartTimer);
    restartTimer = setTimeout(start, delay);
    return delay;
  }

  function launch(ownNode: string): Worker {
    const workerData: WorkerOptions = { ...options, urls, s3, node: ownNode };
    const started = new Worker(workerUrl, { workerData });
    let reason: unknown = new Error('the forwarder exited');
    started.on('message', (report: Report) => {
      if (started === worker) receive(report);
    });
    started.on('error', (error) => {
      reason = error;
    });
    started.on('exit', () => {
      if (started !== worker) return;
      worker = undefined;
      failAll();
      statuses = statuses?.map((status) => ({ ...status, state: 'failing', reason: 'the forwarder exited' }));
      const delay = startLater();
      log.error({ err: reason, delay_ms: delay }, 'the forwarder exited; restarting it');
    });
    return started;
  }

  function receive(report: Report): void {
    if (report === 'saved') {
      onSaved();
    } else if ('statuses' in report) {
      ({ statuses } = report);
      exits = 0;
    } else if ('event' in report) {
      logEvent(report);
    } else {
      const command = pending.get(report.id);
      pending.delete(report.id);
      if ('error' in report) command?.reject(new Error(report.error));
      else command?.resolve(report.value);
    }
  }

  function logEvent({ sink, event }: Extract<Report, { readonly event: unknown }>): void {
    switch (event.event) {
      case 'failed':
        log.warn({ sink, reason: event.reason }, 'records cannot be forwarded; retrying');
        break;
      case 'recovered':
        log.info({ sink, failures: event.failures }, 'records are forwarded again');
        break;
      case 'erasure failed':
        log.error({ sink, reason: event.reason }, 'an erasure could not be forwarded; retrying');
        break;
      case 'warning':
        log.warn({ sink, reason: event.reason }, 'an engine lacks something that the server relies on');
        break;
    }
  }

  function failAll(): void {
    for (const { reject } of pending.values()) reject(new Error('The forwarder is not running. Retry in a minute.'));
    pending.clear();
  }

  /** Stops the worker. Also waits for one that is being stopped. */
  async function stop(): Promise<void> {
    stopped = Promise.all([stopped, stopWorker(takeWorker())]);
    await stopped;
  }

  /** Takes the worker away from those who use it. */
  function takeWorker(): Worker | undefined {
    clearTimeout(restartTimer);
    const last = worker;
    worker = undefined;
    failAll();
    return last;
  }

  /** Stops a worker, by force if the time limit is over. */
  async function stopWorker(last: Worker | undefined): Promise<void> {
    if (!last) return;
    const exited = new Promise<void>((resolve) => last.once('exit', () => resolve()));
    last.postMessage('close' satisfies Message);
    const deadline = setTimeout(() => void last.terminate(), CLOSE_TIMEOUT_MS);
    await Promise.race([exited, Bun.sleep(2 * CLOSE_TIMEOUT_MS)]);
    clearTimeout(deadline);
  }

  return {
    statuses: () => statuses,
    run(command) {
      const target = worker;
      const id = ++lastId;
      return new Promise((resolve, reject) => {
        // the worker returns what belongs to the command
        pending.set(id, { resolve: resolve as PendingCommand['resolve'], reject });
        if (target) target.postMessage({ ...command, id } satisfies Message);
        else failAll();
      });
    },
    async configure(newUrls, newS3) {
      if (isClosed || Bun.deepEquals([newUrls, newS3], [urls, s3])) return;
      urls = newUrls;
      s3 = newS3;
      await stop();
      if (isClosed || worker) return; // another call was faster
      clearTimeout(restartTimer);
      statuses = undefined;
      start();
    },
    async close() {
      isClosed = true;
      await stop();
    },
    async abandon() {
      isClosed = true;
      const ended = Promise.race([takeWorker()?.terminate(), Bun.sleep(CLOSE_TIMEOUT_MS)]);
      statuses = statuses?.map((status) => ({ ...status, state: 'failing', reason: 'the storage has failed' }));
      stopped = Promise.all([stopped, ended]);
      await stopped;
    },
  };
}
