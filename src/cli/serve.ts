import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { type GeneratedSecret, generatedSecret } from '../auth/generated-secret.ts';
import { mintToken } from '../auth/mint.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { makeDurableFolder } from '../durable-folder.ts';
import { createLog } from '../log.ts';
import { assertTrustedFolder } from '../secret-file.ts';
import { type Server, startServer } from '../server.ts';
import { openSink } from '../sink.ts';
import type { CliCommand, CommandContext } from './command.ts';
import { givenSettings, invocation, quoted, started } from './invocation.ts';

/** How long the token in the printed example is valid, in seconds. */
const EXAMPLE_TOKEN_LIFETIME = 3600;
/** How long the process waits at its end for a reader of the log, in milliseconds. */
const LOG_TIMEOUT = 1_000;

/** Runs the server until a signal or a broken storage ends it. */
export const serveCommand: CliCommand = {
  name: 'serve',
  summary: 'run the server (also with no command)',
  resolvesHost: true,
  async run(context) {
    const config = context.config();
    const errors = openSink(2);
    const log = createLog(config.logLevel, errors);
    const onError = (error: unknown) => {
      log.fatal({ err: error }, 'the server has failed');
      void errors.flush(LOG_TIMEOUT).then(() => process.exit(1));
    };
    process.on('uncaughtException', onError).on('unhandledRejection', onError);
    // both can come at any time, also while the server starts or stops
    let exitCode = 0;
    const end = Promise.withResolvers<void>();
    const onSignal = (signal: NodeJS.Signals) => {
      log.info({ signal }, 'stopping');
      end.resolve();
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('SIGQUIT', onSignal);
    // by default these end the process
    for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const) process.on(signal, () => {});
    let hangUp = Promise.withResolvers<void>();
    process.on('SIGHUP', () => hangUp.resolve());
    if (config.insecureDev) log.warn('INSECURE_DEV is on: published sample secrets are accepted');
    for (const folder of [config.dataDir, dirname(config.databasePath)]) {
      makeDurableFolder(folder, { isOurs: true });
      assertTrustedFolder(folder);
    }
    const own = config.jwt.secret === 'own' ? generatedSecret(config.dataDir) : undefined;
    const secret = own?.secret ?? config.jwt.secret;

    const server = await startServer(config, secret, log, errors.dropped, () => {
      exitCode = 1;
      end.resolve();
    });

    // nobody has to read it: the server runs on without
    openSink(1).write(await greeting(server.url, config, own, context));
    log.info({ url: server.url.href, database: config.databasePath }, 'listening');
    void (async () => {
      for (;;) {
        await hangUp.promise;
        hangUp = Promise.withResolvers();
        await reloadSecrets(server, own?.secret, context, log);
      }
    })();
    await end.promise;
    try {
      await (exitCode === 0 ? server.stop() : server.abandon());
    } catch (error) {
      exitCode = 1;
      log.fatal({ err: error }, 'the server did not close cleanly');
    }
    log.info({ exit_code: exitCode }, 'stopped');
    await errors.flush(LOG_TIMEOUT);
    return exitCode;
  },
};

/** Rereads secret files. An invalid one changes nothing. */
async function reloadSecrets(
  server: Server,
  own: string | undefined,
  context: CommandContext,
  log: Logger,
): Promise<void> {
  try {
    const config = loadConfig(context);
    await server.reloadSecrets(config, config.jwt.secret === 'own' ? own : config.jwt.secret);
    log.info('secret files were reread');
  } catch (error) {
    const issues = error instanceof ConfigError ? error.issues : [(error as Error).message];
    log.error({ issues }, 'secret files could not be reread; the former secrets stay in use');
  }
}

/** Returns what a person reads at the start: where the server is, and, with its own secret, how to store a first row. */
async function greeting(
  url: URL,
  config: Config,
  own: GeneratedSecret | undefined,
  context: CommandContext,
): Promise<string> {
  const address = url.href.replace(/\/$/, '');
  const places = `\nrawlog listens on  ${address}\nTry it in a page   ${address}/swagger\n\n`;
  if (!own) return places;
  const expires = Math.min(EXAMPLE_TOKEN_LIFETIME, config.jwt.maxAge ?? EXAMPLE_TOKEN_LIFETIME);
  const grant = { sub: 'me', role: 'authenticated', expires };
  const now = Date.now();
  const token = await mintToken(own.secret, config.jwt, { ...grant, now });
  const made = own.made ? 'so this start made a secret of its own' : 'so the server uses its own secret';
  return `${places}No key is configured, ${made}: ${own.path}
Open the dashboard (the link works once, within 10 minutes):

${signInLink(address, await createSignInCode(own.secret, grant, now))}

This prints a link that shows the rows of all users:

${adminLinkCommand(address, context)}

Store a first metric:

curl -X POST ${address}/log_raw_metric -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'

`;
}

/** The settings that a token depends on, where the server has a secret of its own. */
const TOKEN_SETTINGS = ['DATA_DIR', 'JWT_AUDIENCE', 'JWT_ISSUER', 'JWT_ROLE_CLAIM'] as const;

/** Returns a command that prints an admin's link, and works as pasted in the folder that this was started in. */
function adminLinkCommand(address: string, context: CommandContext): string {
  const isDefault = givenSettings(['HOST', 'PORT'], context).length === 0;
  const link = isDefault ? [] : [quoted(address)];
  const flags = givenSettings(TOKEN_SETTINGS, context);
  return [invocation(started(context.env)), 'token --sub me --role admin', ...flags, '--link', ...link].join(' ');
}
