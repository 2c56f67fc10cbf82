import { connectToServer } from '../control/client.ts';
import { escapeControls } from '../formats/visible-text.ts';
import { SETTING_NAMES } from '../settings.ts';
import { defineCommand, flag } from './command.ts';
import { sendTestAlert } from './doctor/alerts.ts';
import { checkBackups } from './doctor/backups.ts';
import { checkDatabase } from './doctor/database.ts';
import { checkDisk, checkPermissions, checkSecretFiles, remindOfErasureKey } from './doctor/files.ts';
import { type Finding, problemsOf } from './doctor/finding.ts';
import { checkKeys } from './doctor/keys.ts';
import { checkServer, checkStart } from './doctor/running-server.ts';
import { print } from './output.ts';

/** The command that explains what is wrong with an installation. It changes nothing. */
export const doctorCommand = defineCommand({
  name: 'doctor',
  summary: 'Explain what is wrong with the settings, the files, the keys or the server, and what to do',
  settings: SETTING_NAMES,
  examples: [
    { purpose: 'Check an installation; the exit status is 1 if there are problems', commandLine: 'rawlog doctor' },
    { purpose: 'Send a test alert to ALERT_WEBHOOK as well', commandLine: 'rawlog doctor --test-alert' },
    { purpose: 'Print findings to publish in a bug report', commandLine: 'rawlog doctor --public' },
  ],
  options: {
    json: flag('print the findings as JSON, for scripts'),
    public: flag('omit hosts, IDs, names and paths, so that the output can be published'),
    'test-alert': flag('send a test alert to ALERT_WEBHOOK; it is a problem if that fails'),
  },
  resolvesHost: true,
  async run(context, { json, public: isPublic, 'test-alert': hasTestAlert }) {
    const config = context.config();
    const findings: Finding[] = [];
    using server = await connectToServer(config.databasePath).catch((error: unknown) => {
      findings.push(unreachable(error));
      return undefined;
    });
    findings.push(...(server ? await checkServer(server) : await checkStart(config)));
    findings.push(...checkPermissions(config), ...checkSecretFiles(context), ...checkDisk(config));
    findings.push(...checkDatabase(config, server !== undefined), ...(await checkKeys(config, context)));
    if (hasTestAlert) findings.push(...(await sendTestAlert(config)));
    findings.push(...(await checkBackups(config)), ...remindOfErasureKey(config));

    const shown = isPublic ? findings.map(({ detail, ...finding }) => finding) : findings;
    const problems = findings.filter(({ level }) => level === 'problem').length;
    if (json) print(JSON.stringify({ problems, findings: shown }));
    else {
      for (const finding of shown) print(`${textOf(finding)}\n`);
      if (hasTestAlert && !findings.some(({ check }) => check === 'alerts')) print('The test alert was accepted.');
      print(problems === 0 ? 'No problems found.' : `Problems found: ${problems}.`);
    }
    return problems === 0 ? 0 : 1;
  },
});

function textOf({ level, check, summary, remedy, detail }: Finding): string {
  const lines = [
    `${level} (${check}): ${summary}`,
    ...(detail === undefined ? [] : [`  ${escapeControls(detail)}`]),
    `  ${remedy}`,
  ];
  return lines.join('\n');
}

/** Returns the finding of a server that cannot be reached through its control socket. */
function unreachable(error: unknown): Finding {
  const { message } = error as Error; // connectToServer throws nothing else
  return problemsOf('control-socket')(
    'The control socket cannot be used.',
    'Check the owner and mode of its folder, or restart the server.',
    message,
  );
}
