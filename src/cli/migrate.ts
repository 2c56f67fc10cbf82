import { upgradeBackupFolder } from '../backup/upgrade-backup.ts';
import { type MigrationPlan, planMigrations } from '../storage/migration-plan.ts';
import { defineCommand, flag, JSON_OPTION, MIGRATION_SETTINGS } from './command.ts';
import { openDatabase, openOffline } from './open-database.ts';
import { countOf, print, report } from './output.ts';

/** The command that migrates the database, as the server does when it starts. */
export const migrateCommand = defineCommand({
  name: 'migrate',
  summary: 'Migrate the database to the schema of this version, as the server does when it starts',
  settings: MIGRATION_SETTINGS,
  examples: [
    { purpose: 'Before an upgrade, show what the new version would do', commandLine: 'rawlog migrate --dry-run' },
    { purpose: 'Migrate the database of a stopped server', commandLine: 'rawlog migrate' },
  ],
  options: {
    'dry-run': flag(
      'print what would be done and about how long it takes, and change nothing; the server may be running',
    ),
    'without-backup': flag('make no backup before a migration that changes data'),
    json: JSON_OPTION,
  },
  async run({ config }, { 'dry-run': isDryRun = false, 'without-backup': withoutBackup = false, json }) {
    const { databasePath: path, backupDir } = config();
    const client = openDatabase(path);
    let plan: MigrationPlan;
    try {
      plan = planMigrations(client);
    } finally {
      client.close();
    }
    if (!isDryRun && plan.pending.length > 0) (await openOffline(config(), { withoutBackup }))[Symbol.dispose]();
    if (json) {
      const { pending, rows, startSeconds, backupSeconds, rebuildSeconds } = plan;
      const estimate = { backup_seconds: backupSeconds, start_seconds: startSeconds, rebuild_seconds: rebuildSeconds };
      const list = pending.map(({ changesData, rebuildsColumnStore, ...migration }) => ({
        ...migration,
        changes_data: changesData,
        rebuilds_column_store: rebuildsColumnStore,
      }));
      print(JSON.stringify({ dry_run: isDryRun, pending: list, rows, backup_bytes: plan.backupBytes, estimate }));
    } else if (plan.pending.length === 0) report('No migration is pending.');
    else if (isDryRun) print(describePlan(plan, upgradeBackupFolder(path, backupDir)));
    else report(`${countOf(plan.pending.length, 'migration')} applied. ${afterwards(plan)}`);
    return 0;
  },
});

function describePlan(plan: MigrationPlan, backupFolder: string): string {
  const lines = plan.pending.map(({ name, statements, tables }) => {
    const touched = tables.map((table) => `${table.name} (${countOf(table.rows, 'row')})`);
    const reads = touched.length > 0 ? `, reads or rewrites ${touched.join(', ')}` : '';
    return `  ${name}: ${countOf(statements, 'statement')}${reads}`;
  });
  return [
    `Pending migrations: ${plan.pending.length}`,
    ...lines,
    plan.backupBytes > 0
      ? `Before that, a backup in ${backupFolder}: ${countOf(plan.backupBytes, 'byte')}, about ${countOf(plan.backupSeconds, 'second')}`
      : 'Before that, no backup: only tables, columns, indexes or views are added',
    `Before the server listens: about ${countOf(Math.max(1, plan.backupSeconds + plan.startSeconds), 'second')}`,
    afterwards(plan),
    'Older versions cannot open the database after that; docs/deploy.md explains a downgrade.',
  ].join('\n');
}

function afterwards({ rebuildSeconds, rows }: MigrationPlan): string {
  if (rebuildSeconds === 0) return 'The column store is kept.';
  return `Then the server rebuilds the column store of ${countOf(rows, 'row')} while it records: about ${countOf(rebuildSeconds, 'second')}.`;
}
