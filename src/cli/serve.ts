import type { Logger } from 'pino';
import { mintToken } from '../auth/mint.ts';
import { type OwnSecret, ownSecret } from '../auth/secret.ts';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { createLog } from '../log.ts';
import { type Server, startServer } from '../server.ts';
import type { CliCommand, CommandContext } from './command.ts';
import { givenSettings, invocation, quoted, started } from './invocation.ts';

/** How long the token in the printed example is valid, in seconds. */
const EXAMPLE_TOKEN_LIFETIME = 3600;

/** Runs the server until a signal or a broken storage ends it. */
export const serveCommand: CliCommand = {
  name: 'serve',
  summary: 'run the server (also with no command)',
  resolvesHost: true,
  async run(context) {
    const config = context.config();
    const log = createLog(config.logLevel);
    const own = config.jwt.secret === 'own' ? ownSecret(config.dataDir) : undefined;
    const secret = own?.secret ?? config.jwt.secret;

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
    const server = await startServer(config, secret, log, () => {
      exitCode = 1;
      end.resolve();
    });

    await greet(server.url, config, own, context);
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
    const faults = error instanceof ConfigError ? error.faults : [(error as Error).message];
    log.error({ faults }, 'secret files could not be reread; the former secrets stay in use');
  }
}

/** Tells a person where the server is, and, where it has a secret of its own, how to store a first row. */
async function greet(url: URL, config: Config, own: OwnSecret | undefined, context: CommandContext): Promise<void> {
  const address = url.href.replace(/\/$/, '');
  console.log(`\nrawlog listens on  ${address}\nTry it in a page   ${address}/swagger\n`);
  if (!own) return;
  const token = await mintToken(own.secret, config.jwt, {
    sub: 'me',
    role: 'authenticated',
    expires: Math.min(EXAMPLE_TOKEN_LIFETIME, config.jwt.maxAge ?? EXAMPLE_TOKEN_LIFETIME),
    now: Date.now(),
  });
  const made = own.made ? 'so this start made a secret of its own' : 'so the server uses its own secret';
  console.log(`No key is configured, ${made}: ${own.path}
Open the dashboard (the token is valid for an hour):

${signInLink(address, token)}

This prints a link that shows the rows of all users:

${adminLinkCommand(address, context)}

Store a first metric:

curl -X POST ${address}/log_raw_metric -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'
`);
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
