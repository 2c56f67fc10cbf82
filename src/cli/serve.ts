import { issuersOf } from '../auth/access.ts';
import type { Secrets } from '../auth/secrets.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import { type Config, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { SETTING_NAMES } from '../settings.ts';
import type { CliCommand, CommandContext } from './command.ts';
import { commandPrefix, currentInvocation, settingFlags, shellQuote } from './invocation.ts';
import { runServer } from './run-server.ts';

/** Lifetime of the token in the printed curl command. */
const EXAMPLE_TOKEN_LIFETIME_SECONDS = 3600;

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
  run(context) {
    const config = context.config();
    return runServer({
      config,
      reloadConfig: () => loadConfig(context),
      env: context.env,
      greeting: (url, secrets) => greeting(url, config, secrets, context),
    });
  },
};

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
