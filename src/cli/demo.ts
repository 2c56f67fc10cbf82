import { createOperatorIssuer } from '../auth/issuer.ts';
import type { Secrets } from '../auth/secrets.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import { type Config, loadConfig } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { demoDatabaseOf, demoFolderOf, makeDemoFolder } from '../demo/folder.ts';
import { reportOf } from '../demo/session.ts';
import { generateShop } from '../demo/shop.ts';
import { storeRows } from '../demo/store-rows.ts';
import type { ConfigSources, SettingName } from '../settings.ts';
import { type CommandContext, defineCommand, flag } from './command.ts';
import { openOffline } from './open-database.ts';
import { countOf, report } from './output.ts';
import { runServer } from './run-server.ts';

/** The settings that apply to the demo. All others have their defaults, so that it cannot reach anything real. */
const SETTINGS: readonly SettingName[] = ['HOST', 'PORT', 'DATA_DIR', 'MIN_FREE_BYTES', 'LOG_LEVEL'];

/** Lifetime of the session that the sign-in link opens, in seconds. */
const SESSION_SECONDS = 8 * 3_600;

/** The command that runs a server with invented data. */
export const demoCommand = defineCommand({
  name: 'demo',
  summary: 'Run a server with three months of an invented shop, in its own database',
  settings: SETTINGS,
  examples: [
    { purpose: 'Look around: open the link that it prints', commandLine: 'rawlog demo' },
    { purpose: 'Run it beside a server on the default port', commandLine: 'rawlog demo --port 3001' },
  ],
  resolvesHost: true,
  options: {
    attached: flag('print the address and a token that can only read as JSON, and stop when standard input ends'),
  },
  async run(context, { attached }) {
    const config = demoConfig(context);
    if (!attached) report('Writing three months of an invented shop…');
    const rows = await writeShop(config);
    return runServer({
      config,
      reloadConfig: () => config,
      env: {},
      greeting: async (url, secrets) =>
        attached
          ? `${JSON.stringify(await reportOf(url, secrets, rows, Date.now()))}\n`
          : greeting(url, secrets, config, rows),
      ...(attached && { until: endOfInput() }),
    });
  },
});

/** Returns the configuration of the demo: its own folder, and a few settings of the real server. */
function demoConfig(context: CommandContext): Config {
  const only = <Values extends object>(values: Values) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => (SETTINGS as readonly string[]).includes(name)));
  const sources: ConfigSources = { ...context, flags: only(context.flags), env: only(context.env) };
  const dataDir = demoFolderOf(context.config().dataDir);
  return { ...loadConfig(sources), dataDir, databasePath: demoDatabaseOf(dataDir) };
}

/** Writes the data of the shop to a new database. Returns the number of rows. */
async function writeShop(config: Config): Promise<number> {
  makeDemoFolder(config.dataDir, config.minFreeBytes);
  using database = await openOffline(config, { create: true });
  const rows = generateShop(Date.now());
  await storeRows(database, rows);
  return rows.length;
}

async function greeting(url: URL, { operator: [secret = ''] }: Secrets, config: Config, rows: number): Promise<string> {
  const grant = { sub: 'me', role: 'admin', expires: SESSION_SECONDS } as const;
  const code = await createSignInCode(createOperatorIssuer(secret).secret, grant, Date.now());
  return `
rawlog demo is listening on  ${url.origin}

Open it with this sign-in link (valid once, for 10 minutes):

${signInLink(url.origin, code)}

The data is invented: ${countOf(rows, 'row')} of a small shop in ${config.dataDir}.
The next start replaces it. Other data is not touched.

`;
}

/** Resolves when standard input ends, which it does when the process that started this one is gone. */
async function endOfInput(): Promise<void> {
  for await (const _ of Bun.stdin.stream());
}
