import { defineCommand, JSON_OPTION, MIGRATION_SETTINGS } from './command.ts';
import { print, report } from './output.ts';
import { runInServerOrHere } from './run-command.ts';

/** The command that rebuilds the column store from the rows. */
export const rebuildCommand = defineCommand({
  name: 'rebuild',
  summary: 'Rebuild the column store from the stored rows; the server may be running',
  settings: MIGRATION_SETTINGS,
  examples: [
    { purpose: 'Rebuild the column store of ./data/rawlog.db', commandLine: 'rawlog rebuild' },
    { purpose: 'Rebuild it in another data folder', commandLine: 'rawlog rebuild --data-dir /var/lib/rawlog' },
  ],
  options: { json: JSON_OPTION },
  async run({ config }, { json }) {
    await runInServerOrHere(config(), 'rebuild', {}, ({ reader }, run) => {
      run(reader.store.rebuild());
      return null;
    });
    if (json) print(JSON.stringify({ rebuilt: true }));
    else report('The column store was rebuilt.');
    return 0;
  },
});
