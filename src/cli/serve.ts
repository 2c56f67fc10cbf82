import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { issuersOf } from '../auth/access.ts';
import { loadSecrets, type Secrets } from '../auth/secrets.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { makeDurableFolder } from '../durable-folder.ts';
import { createLog } from '../log.ts';
import { assertTrustedFolder } from '../secret-file.ts';
import type { Server } from '../server.ts';
import { openServiceNotifier } from '../service-notifier.ts';
import { SETTING_NAMES } from '../settings.ts';
import { openSink } from '../sink.ts';
import type { CliCommand, CommandContext } from './command.ts';
import { commandPrefix, currentInvocation, settingFlags, shellQuote } from './invocation.ts';

/** Lifetime of the token in the printed curl command. */
const EXAMPLE_TOKEN_LIFETIME_SECONDS = 3600;
/** How long an exiting server waits for its log to be written. */
const LOG_FLUSH_TIMEOUT_MS = 1_000;

/** The command that runs the server until it receives a signal or its storage fails. */
export const serveCommand: CliCommand = {
  name: 'serve',
  summary: 'Run the server (the default command)',
  settings: SETTING_NAMES,
  examples: [
    { purpose: 'Try it: listen on http://127.0.0.1:3000 with a generated secret', commandLine: 'rawlog serve' },
    {
      purpose: 'Run a server with its own data folder, for a web app on another origin',
      commandLine:
        'rawlog serve --data-dir /var/lib/rawlog --jwt-secret-file /etc/rawlog/secret --cors-origins https://app.example.com',
    },
  ],
  resolvesHost: true,
  async run(context) {
    const config = context.config();
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
    const onSignal = (signal: NodeJS.Signals) => {
      log.info({ signal }, 'stopping');
      end.resolve();
    };
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

    // through a sink, because the server must run even if nobody reads standard output
    openSink(1).write(await greeting(server.url, config, secrets, context));
    log.info({ url: server.url.href, database: config.databasePath }, 'listening');
    const notifier = await openServiceNotifier(context.env, log);
    const status = `Listening on ${server.url.href}`;
    notifier.ready(status);
    void (async () => {
      for (;;) {
        await hangUp.promise;
        hangUp = Promise.withResolvers();
        notifier.reloading();
        await reloadSecrets(server, context, log);
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
  },
};

/** Reloads the secret files. If one is invalid, nothing changes. */
async function reloadSecrets(server: Server, context: CommandContext, log: Logger): Promise<void> {
  try {
    const config = loadConfig(context);
    await server.reloadSecrets(config, loadSecrets(config));
    log.info('secret files reloaded');
  } catch (error) {
    const issues = error instanceof ConfigError ? error.issues : [(error as Error).message];
    log.error({ issues }, 'secret files could not be reloaded; the previous secrets remain in use');
  }
}

/** Returns the startup message: the server's URLs and, with a generated secret, how to sign in and send a first metric. */
async function greeting(url: URL, config: Config, secrets: Secrets, context: CommandContext): Promise<string> {
  const address = url.href.replace(/\/$/, '');
  const urls = `\nrawlog is listening on  ${address}\nAPI reference           ${address}/swagger\n\n`;
  const { generated } = secrets;
  const [issuer] = issuersOf(config, secrets);
  if (config.jwt.secret !== 'generated' || !generated || !issuer) return urls;
  const maxLifetime = config.jwt.maxAgeSeconds ?? EXAMPLE_TOKEN_LIFETIME_SECONDS;
  const expires = Math.min(EXAMPLE_TOKEN_LIFETIME_SECONDS, maxLifetime);
  const grant = { sub: 'me', role: 'user', expires } as const;
  const now = Date.now();
  const token = await issuer.issue(grant, now);
  const secretNote = generated.isNew ? 'rawlog generated a secret' : 'rawlog uses its generated secret';
  return `${urls}No signing key is configured; ${secretNote}: ${generated.path}

Open the dashboard with this sign-in link (valid once, for 10 minutes):

${signInLink(address, await createSignInCode(issuer.secret, grant, now))}

To see the rows of all users, print a sign-in link for an admin:

${adminLinkCommand(address, context)}

Send your first metric:

curl -X POST ${address}/log_raw_metric -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'

`;
}

/** The settings that affect tokens signed with the generated secret. */
const TOKEN_SETTINGS = [
  'DATA_DIR',
  'OPERATOR_TOKENS',
  'JWT_AUDIENCE',
  'JWT_ISSUER',
  'JWT_ROLE_CLAIM',
  'JWT_ADMIN_ROLES',
] as const;

/** Returns a command that prints an admin link. It works when pasted into a shell in the working directory of the server. */
function adminLinkCommand(address: string, context: CommandContext): string {
  const isDefaultAddress = settingFlags(['HOST', 'PORT'], context).length === 0;
  const url = isDefaultAddress ? [] : [shellQuote(address)];
  const flags = settingFlags(TOKEN_SETTINGS, context);
  const program = commandPrefix(currentInvocation(context.env));
  return [program, 'token --sub me --role admin', ...flags, '--link', ...url].join(' ');
}
