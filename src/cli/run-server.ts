import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { loadSecrets, type Secrets } from '../auth/secrets.ts';
import { type Config, ConfigError } from '../config.ts';
import { makeDurableFolder } from '../durable-folder.ts';
import { escapeControlsInLines } from '../formats/visible-text.ts';
import { createLog } from '../log.ts';
import { assertTrustedFolder } from '../secret-file.ts';
import type { Server } from '../server.ts';
import { openServiceNotifier } from '../service-notifier.ts';
import { openSink } from '../sink.ts';
import type { CommandContext } from './command.ts';

/** How long an exiting server waits for its log to be written. */
const LOG_FLUSH_TIMEOUT_MS = 1_000;

/** What a command that runs a server decides. */
export interface ServerRun {
  readonly config: Config;
  /** Loads the configuration again, for new secrets. */
  readonly reloadConfig: () => Config;
  readonly env: CommandContext['env'];
  /** Returns what is printed once the server listens. */
  readonly greeting: (url: URL, secrets: Secrets) => Promise<string>;
  /** Stops the server when it resolves, as a signal does. */
  readonly until?: Promise<void>;
}

/**
 * Runs a server until it receives a signal or its storage fails.
 *
 * @returns the exit status
 */
export async function runServer({ config, reloadConfig, env, greeting, until }: ServerRun): Promise<number> {
  const errors = openSink(2);
  const log = createLog(config.logLevel, errors);
  const onError = (error: unknown) => {
    log.fatal({ err: error }, 'unexpected error; exiting');
    void errors.flush(LOG_FLUSH_TIMEOUT_MS).then(() => process.exit(1));
  };
  process.on('uncaughtException', onError).on('unhandledRejection', onError);
  // a signal or a storage failure can end the server at any time, even while it is starting or stopping
  let exitCode = 0;
  const end = Promise.withResolvers<void>();
  /** Stops accepting connections, once the server is running. */
  let stopListening = () => {};
  const onSignal = (signal: NodeJS.Signals) => {
    stopListening(); // before the line is logged, so that a client that waits for it cannot connect any more
    log.info({ signal }, 'stopping');
    end.resolve();
  };
  void until?.then(end.resolve);
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('SIGQUIT', onSignal);
  // without a listener, these signals would kill the process
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const) process.on(signal, () => {});
  let hangUp = Promise.withResolvers<void>();
  process.on('SIGHUP', () => hangUp.resolve());
  if (config.insecureDev)
    log.warn('INSECURE_DEV is on: published sample secrets are accepted. Turn it off in production');
  for (const folder of [config.dataDir, dirname(config.databasePath)]) {
    makeDurableFolder(folder, { isOurs: true });
    assertTrustedFolder(folder);
  }
  const secrets = loadSecrets(config);

  // imported on demand, because loading the server takes longer than the rest of a short command
  const { startServer } = await import('../server.ts');
  const server = await startServer(config, secrets, log, errors.dropped, () => {
    exitCode = 1;
    end.resolve();
  });

  ({ stopListening } = server);
  // through a sink, because the server must run even if nobody reads standard output
  openSink(1).write(escapeControlsInLines(await greeting(server.url, secrets)));
  log.info({ url: server.url.href, database: config.databasePath }, 'listening');
  const notifier = await openServiceNotifier(env, log);
  const status = `Listening on ${server.url.href}`;
  notifier.ready(status);
  void (async () => {
    for (;;) {
      await hangUp.promise;
      hangUp = Promise.withResolvers();
      notifier.reloading();
      await reloadSecrets(server, reloadConfig, log);
      notifier.ready(status);
    }
  })();
  await end.promise;
  notifier.stopping();
  try {
    await (exitCode === 0 ? server.stop() : server.abandon());
  } catch (error) {
    exitCode = 1;
    log.fatal({ err: error }, 'the server did not shut down cleanly');
  }
  log.info({ exit_code: exitCode }, 'stopped');
  await errors.flush(LOG_FLUSH_TIMEOUT_MS);
  return exitCode;
}

/** Reloads the secret files. If one is invalid, nothing changes. */
async function reloadSecrets(server: Server, reloadConfig: () => Config, log: Logger): Promise<void> {
  try {
    const config = reloadConfig();
    await server.reloadSecrets(config, loadSecrets(config));
    log.info('secret files reloaded');
  } catch (error) {
    const issues = error instanceof ConfigError ? error.issues : [(error as Error).message];
    log.error({ issues }, 'secret files could not be reloaded; the previous secrets remain in use');
  }
}
