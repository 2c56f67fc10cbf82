import { fstatSync } from 'node:fs';
import { issuersOf } from '../auth/access.ts';
import type { Issuer } from '../auth/issuer.ts';
import type { Secrets } from '../auth/secrets.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import { type Config, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { SETTING_NAMES } from '../settings.ts';
import type { CliCommand, CommandContext } from './command.ts';
import { commandPrefix, currentInvocation, settingFlags, shellQuote } from './invocation.ts';
import { isTerminal } from './output.ts';
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

/**
 * Returns the startup message: the server's URLs and, with a generated secret, how to sign in and send a first metric. The
 * first start prints a link and a token for that. Later ones only print them to a terminal, and commands for them to a log.
 */
async function greeting(url: URL, config: Config, secrets: Secrets, context: CommandContext): Promise<string> {
  const address = url.href.replace(/\/$/, '');
  const urls = `\nrawlog is listening on  ${address}\nAPI reference           ${address}/swagger\n\n`;
  const { generated } = secrets;
  const [issuer] = issuersOf(config, secrets);
  if (config.jwt.secret !== 'generated' || !generated || !issuer) return urls;
  const isPrivate = isTerminal() || (generated.isNew && !isJournal(context.env));
  const { link, authorization } = isPrivate ? await firstSteps(address, issuer, config) : commandsFor(address, context);
  const secretNote = generated.isNew ? 'rawlog generated a secret' : 'rawlog uses its generated secret';
  return `${urls}No signing key is configured; ${secretNote}: ${generated.path}

${link}

To see the rows of all users, print a sign-in link for an admin:

${linkCommand('--sub me --role admin', address, context)}

Send your first metric:

curl -X POST ${address}/log_raw_metric -H ${authorization} -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'

`;
}

/** The parts of the startup message that let a user in. */
interface FirstSteps {
  /** How to open the dashboard. */
  readonly link: string;
  /** The header field of a request, as a shell word. */
  readonly authorization: string;
}

/** Returns a sign-in link and a token. */
async function firstSteps(address: string, issuer: Issuer, config: Config): Promise<FirstSteps> {
  const maxLifetime = config.jwt.maxAgeSeconds ?? EXAMPLE_TOKEN_LIFETIME_SECONDS;
  const expires = Math.min(EXAMPLE_TOKEN_LIFETIME_SECONDS, maxLifetime);
  const grant = { sub: 'me', role: 'user', expires } as const;
  const now = Date.now();
  const link = signInLink(address, await createSignInCode(issuer.secret, grant, now));
  return {
    link: `Open the dashboard with this sign-in link (valid once, for 10 minutes):\n\n${link}`,
    authorization: `'Authorization: Bearer ${await issuer.issue(grant, now)}'`,
  };
}

/** Returns commands that print a sign-in link and a token. */
function commandsFor(address: string, context: CommandContext): FirstSteps {
  return {
    link: `Print a sign-in link for the dashboard:\n\n${linkCommand('--sub me', address, context)}`,
    authorization: `"Authorization: Bearer $(${tokenCommand('--sub me', context).join(' ')})"`,
  };
}

/** Returns whether systemd's journal collects standard output, which it keeps and shows to others. */
function isJournal(env: CommandContext['env']): boolean {
  const { dev, ino } = fstatSync(1);
  return env['JOURNAL_STREAM'] === `${dev}:${ino}`;
}

/** The settings that affect tokens signed with the generated secret. */
const TOKEN_SETTINGS = [
  'DATA_DIR',
  'OPERATOR_TOKENS',
  'JWT_AUDIENCE',
  'JWT_ISSUER',
  'JWT_ROLE_CLAIM',
  'JWT_ADMIN_ROLES',
  'JWT_MAX_AGE',
] as const;

/** Returns a command that prints a token. It works when pasted into a shell in the working directory of the server. */
function tokenCommand(grant: string, context: CommandContext): string[] {
  return [commandPrefix(currentInvocation(context.env)), `token ${grant}`, ...settingFlags(TOKEN_SETTINGS, context)];
}

/** Returns a command that prints a sign-in link, as {@link tokenCommand} does. */
function linkCommand(grant: string, address: string, context: CommandContext): string {
  const isDefaultAddress = settingFlags(['HOST', 'PORT'], context).length === 0;
  const url = isDefaultAddress ? [] : [shellQuote(address)];
  return [...tokenCommand(grant, context), '--link', ...url].join(' ');
}
