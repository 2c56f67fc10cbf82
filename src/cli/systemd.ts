import { dirname, relative } from 'node:path';
import { flagOf, SETTING_NAMES, type SettingName, settingText } from '../settings.ts';
import { type CommandContext, defineCommand, UsageError } from './command.ts';
import { currentInvocation, shellQuote } from './invocation.ts';
import { printFile } from './output.ts';
import { realPath } from './real-path.ts';

/** Where the steps install the program. */
const PROGRAM = '/usr/local/bin/rawlog';
/** The file with the settings of the service, which commands on the same machine read too. */
const SETTINGS_FILE = '/etc/rawlog/rawlog.env';
/** The folder in which systemd creates the folders of services. */
const STATE_ROOT = '/var/lib';
const DEFAULT_DATA_DIR = `${STATE_ROOT}/rawlog`;

/** The settings that name a folder, or a file in a folder, that the server writes to. */
const WRITTEN: readonly string[] = ['DATA_DIR', 'DATABASE_URL', 'BACKUP_DIR'];
const FOLDER_SETTINGS: readonly SettingName[] = SETTING_NAMES.filter((name) => WRITTEN.includes(name));

/** Folders that ProtectHome and PrivateTmp hide. */
const HIDDEN = ['/home', '/root', '/run/user', '/tmp', '/var/tmp'];

/** The command that prints a systemd unit. */
export const systemdCommand = defineCommand({
  name: 'systemd',
  summary: 'Print a hardened systemd unit for the server, with the steps to install it',
  settings: FOLDER_SETTINGS,
  examples: [
    {
      purpose: 'Install the unit',
      commandLine: 'rawlog systemd | sudo tee /etc/systemd/system/rawlog.service',
    },
    {
      purpose: 'Print a unit that lets the server write to another folder',
      commandLine: 'rawlog systemd --data-dir /srv/rawlog',
    },
  ],
  async run(context) {
    const folders = writtenFolders(context);
    const hidden = folders.find(({ path }) => HIDDEN.some((root) => isInside(root, path)));
    if (hidden) {
      throw new UsageError(
        `${hidden.givenAs} is in a folder that the unit hides from the server: use a folder such as ${DEFAULT_DATA_DIR}.`,
      );
    }
    const isState = ({ path }: WrittenFolder) => path !== STATE_ROOT && isInside(STATE_ROOT, path);
    const paths = (list: readonly WrittenFolder[]) => [...new Set(list.map(({ path }) => path))];
    const states = paths(folders.filter(isState));
    const others = paths(folders.filter((folder) => !isState(folder)));
    printFile(`${installation(context, folders, others)}\n${unit(states, others)}\n`);
    return 0;
  },
});

/** A folder that the server writes to. */
interface WrittenFolder {
  readonly name: SettingName;
  /** The flag or variable that names it. */
  readonly givenAs: string;
  /** Absolute, with symbolic links resolved. */
  readonly path: string;
}

/** Returns the folders that settings name, and the data folder in any case. */
function writtenFolders(context: CommandContext): WrittenFolder[] {
  const { databasePath } = context.config();
  return FOLDER_SETTINGS.flatMap((name): WrittenFolder[] => {
    const { text = '', origin, givenAs } = settingText(name, context);
    if (name === 'DATA_DIR') return [{ name, givenAs, path: origin === 'default' ? DEFAULT_DATA_DIR : realPath(text) }];
    if (origin === 'default' || text.startsWith('s3://')) return [];
    return [{ name, givenAs, path: name === 'DATABASE_URL' ? dirname(databasePath) : realPath(text) }];
  });
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}

/** Returns the value of DATABASE_URL for a path. */
function fileUrl(path: string): string {
  return `file:${path.split('/').map(encodeURIComponent).join('/')}`;
}

/** Returns the steps that install the service, as comments. */
function installation(context: CommandContext, folders: readonly WrittenFolder[], others: readonly string[]): string {
  const { entry, path } = currentInvocation(context.env);
  const program = entry === undefined ? shellQuote(path) : 'dist/rawlog';
  const settingValue = ({ name, path }: WrittenFolder) =>
    shellQuote(name === 'DATABASE_URL' ? fileUrl(context.config().databasePath) : path);
  const settings = folders.map((folder) => `${folder.name}=${settingValue(folder)}`);
  const flags = folders.flatMap((folder) => {
    if (folder.name === 'DATA_DIR' && folder.path === DEFAULT_DATA_DIR) return [];
    return [`${flagOf(folder.name)} ${settingValue(folder)}`];
  });
  const steps = [
    ...(path === PROGRAM ? [] : [`install ${program} ${PROGRAM}`]),
    'useradd --system rawlog && install -d -m 750 -g rawlog /etc/rawlog',
    ...others.map((folder) => `install -d -m 700 -o rawlog -g rawlog ${shellQuote(folder)}`),
    `printf '%s\\n' ${settings.map(shellQuote).join(' ')} > ${SETTINGS_FILE}`,
    `${[PROGRAM, 'systemd', ...flags].join(' ')} > /etc/systemd/system/rawlog.service`,
    'systemctl daemon-reload && systemctl enable --now rawlog',
  ];
  return `# The unit of rawlog, made by "rawlog systemd". To install it, run as root:
#
${steps.map((step) => `#   ${step}`).join('\n')}
#
# All settings belong in ${SETTINGS_FILE}. If your product signs tokens with a shared secret, write it to
# /etc/rawlog/jwt-secret (owner root, group rawlog, mode 640), and add JWT_SECRET_FILE=/etc/rawlog/jwt-secret. After a
# change to the settings, run "systemctl restart rawlog"; after a change to the secret, "systemctl reload rawlog".
`;
}

/**
 * Returns the unit.
 *
 * @param states folders in /var/lib, which systemd creates
 * @param others other folders that the server may write to, which must exist
 */
function unit(states: readonly string[], others: readonly string[]): string {
  const stateDirectories = states.map((path) => quote(relative(STATE_ROOT, path)));
  const writable = others.map(quote);
  return `[Unit]
Description=rawlog, a durable log for metrics and analytics events
Wants=network-online.target
After=network-online.target
# keep trying to start, for example until a full disk has space again
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile=${SETTINGS_FILE}
ExecStart=${PROGRAM} serve
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2s
# exit status 2 means invalid settings, which no restart fixes
RestartPreventExitStatus=2
# migrating a large database takes minutes
TimeoutStartSec=infinity
# the server finishes requests and exits within 10 s
TimeoutStopSec=30s
# restarts a server whose event loop hangs
WatchdogSec=60s

# With these lines, systemd reads the secret from a file that only root can read; LoadCredentialEncrypted also decrypts
# it. Remove JWT_SECRET_FILE from the settings then. systemd reads the file when the service starts, so after a change
# to the secret, restart the service instead of reloading it.
#LoadCredential=jwt-secret:/etc/rawlog/jwt-secret
#Environment=JWT_SECRET_FILE=%d/jwt-secret

User=rawlog
Group=rawlog
UMask=0077
${stateDirectories.length > 0 ? `StateDirectory=${stateDirectories.join(' ')}\nStateDirectoryMode=0700\n` : ''}\
${writable.length > 0 ? `ReadWritePaths=${writable.join(' ')}\n` : ''}\

# each connection needs a file descriptor
LimitNOFILE=65536
# a core dump would contain secrets and recorded values
LimitCORE=0
# the largest queries use up to 1.1 GB
MemoryMax=2G
TasksMax=512

# No MemoryDenyWriteExecute: the JavaScript engine would run without its compiler.
AmbientCapabilities=
CapabilityBoundingSet=
DevicePolicy=closed
KeyringMode=private
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
# AF_UNIX is for the service manager, the log and the server's own socket
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# the query engine lowers its own priority
SystemCallFilter=setpriority

[Install]
WantedBy=multi-user.target`;
}

/** Quotes a path as one word of a unit file: systemd.syntax(7). "%" would begin a specifier. */
function quote(path: string): string {
  const escaped = path.replaceAll('%', '%%');
  return /^[\w@%+=:,./-]+$/.test(path) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}
