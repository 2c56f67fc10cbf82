import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { readdirSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import journal from '../../src/storage/migrations/meta/_journal.json';
import { createOlderDatabase } from '../harness/older-database.ts';
import { runCli, SECRET, startTarget, temporaryFolder } from '../harness/target.ts';
import { FIRST_SEQ, idOf } from '../storage/log.ts';

/*
 * The command `migrate`, and what a database of another version needs.
 */

/** Migrations of the older database: the first that rebuilds the column store follows. */
const OLDER = 6;
const ROWS = 10;

let folder: ReturnType<typeof temporaryFolder>;
let env: Record<string, string>;
let path: string;
beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, 'rawlog.db');
  env = { JWT_SECRET: SECRET, DATA_DIR: folder.path };
});
afterEach(() => folder[Symbol.dispose]());

function createOlder(migrations = OLDER): void {
  createOlderDatabase(path, migrations, (client) => {
    for (let seq = FIRST_SEQ; seq < FIRST_SEQ + ROWS; seq++) {
      client.run("INSERT INTO metrics VALUES (?, ?, 'user-1', 1, 1, 'page_load_time', 2.5, '/')", [seq, idOf(seq)]);
    }
    client.run("INSERT INTO ledger VALUES ('stored', ?)", [ROWS]);
  });
}

/** Returns the number of migrations that a database has. */
function appliedMigrations(): number {
  const client = new Database(path, { readonly: true });
  const row = client.query<{ n: number }, []>('SELECT count(*) AS n FROM __drizzle_migrations').get();
  client.close();
  return row?.n ?? 0;
}

/** Returns the names of the backups in the data folder. */
const backups = () => readdirSync(folder.path).filter((name) => name.endsWith('.tar'));

test('a dry run lists pending migrations and about how long they take, and changes nothing', async () => {
  createOlder();
  const pending = journal.entries.slice(OLDER).map(({ tag }) => tag);
  const text = await runCli(['migrate', '--dry-run'], { env });
  expect(text).toMatchObject({ exitCode: 0, stderr: '' });
  expect(text.stdout).toContain(`Pending migrations: ${pending.length}`);
  for (const name of pending) expect(text.stdout).toContain(`  ${name}: `);
  expect(text.stdout).toMatch(new RegExp(`^Before that, a backup in ${folder.path}: \\d+ bytes, about 1 second$`, 'm'));
  expect(text.stdout).toMatch(/^Before the server listens: about \d seconds?$/m);
  expect(text.stdout).toContain(`rebuilds the column store of ${ROWS} rows`);
  const json = JSON.parse((await runCli(['migrate', '--dry-run', '--json'], { env })).stdout);
  expect(json).toMatchObject({
    dry_run: true,
    rows: ROWS,
    estimate: { rebuild_seconds: 1 },
  });
  expect(json.pending.map(({ name }: { name: string }) => name)).toEqual(pending);
  expect(json.backup_bytes % 4096).toBe(0);
  expect(json.pending.map((migration: { changes_data: boolean }) => migration.changes_data)).toEqual([
    true,
    true,
    false,
    false,
    false,
    true,
    false,
  ]);
  expect(appliedMigrations()).toBe(OLDER);
  expect(backups()).toEqual([]);
});

test('a migration that only adds views reads no rows, and is not backed up before', async () => {
  createOlder(journal.entries.length - 1);
  const json = JSON.parse((await runCli(['migrate', '--dry-run', '--json'], { env })).stdout);
  expect(json).toMatchObject({ rows: ROWS, backup_bytes: 0, estimate: { start_seconds: 0, rebuild_seconds: 0 } });
  expect(json.pending).toMatchObject([{ name: '0012_add_record_views', tables: [], changes_data: false }]);
});

test('migrates the database of a stopped server', async () => {
  createOlder();
  const { exitCode, stderr } = await runCli(['migrate'], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining('migrations applied.') });
  expect(appliedMigrations()).toBe(journal.entries.length);
  const [backup = '', ...others] = backups();
  expect([backup, others]).toEqual([expect.stringMatching(/^rawlog-before-upgrade-\d{8}T\d{6}Z\.tar$/), []]);
  expect(stderr).toContain(`backed up before the migration: ${join(folder.path, backup)}`);
  expect(statSync(join(folder.path, backup)).mode & 0o777).toBe(0o600);
  expect((await runCli(['verify', join(folder.path, backup)], { env })).stdout).toContain(`${ROWS} metrics`);
  expect((await runCli(['migrate'], { env })).stderr).toBe('No migration is pending.\n');
  expect(backups()).toEqual([backup]);
});

test('migrates nothing without room for the backup, unless it is told to make none', async () => {
  createOlder();
  const full = { ...env, MIN_FREE_BYTES: '100000000000000' };
  const { exitCode, stderr } = await runCli(['migrate'], { env: full });
  expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('needs 100000') });
  expect(stderr).toContain('Nothing was changed. Make room, set BACKUP_DIR');
  expect([appliedMigrations(), backups()]).toEqual([OLDER, []]);
  expect((await runCli(['migrate', '--without-backup'], { env: full })).exitCode).toBe(0);
  expect([appliedMigrations(), backups()]).toEqual([journal.entries.length, []]);
});

test('the server and other commands make the backup too, in BACKUP_DIR, in place of an older one', async () => {
  createOlder();
  const older = join(folder.path, 'rawlog-before-upgrade-20200101T000000Z.tar');
  writeFileSync(older, '');
  const backupDir = join(folder.path, 'backups');
  const stored = () => readdirSync(backupDir).filter((name) => name.startsWith('rawlog-before-upgrade-'));
  const target = await startTarget({ JWT_SECRET: SECRET, BACKUP_DIR: backupDir }, { dataDir: folder.path });
  const line = target.logLines().find(({ msg }) => msg === 'the database was backed up before the migration');
  await target.stop();
  expect(stored()).toHaveLength(1);
  expect(line).toMatchObject({ file: join(backupDir, stored()[0] ?? '') });
  expect(backups()).toEqual([]);
  rmSync(path);
  rmSync(backupDir, { recursive: true });
  createOlder();
  expect((await runCli(['rebuild'], { env: { ...env, BACKUP_DIR: backupDir } })).exitCode).toBe(0);
  expect(stored()).toHaveLength(1);
});

test('the backup remains if BACKUP_DIR is another path of the folder of the database', async () => {
  createOlder();
  const alias = `${folder.path}-alias`;
  symlinkSync(folder.path, alias);
  try {
    expect((await runCli(['migrate'], { env: { ...env, BACKUP_DIR: alias } })).exitCode).toBe(0);
  } finally {
    unlinkSync(alias);
  }
  expect(appliedMigrations()).toBe(journal.entries.length);
  expect(backups()).toHaveLength(1);
});

test('databases in the same folder have backups of their own', async () => {
  for (const name of ['a', 'b']) {
    path = join(folder.path, `${name}.db`);
    createOlder();
    expect((await runCli(['migrate'], { env: { ...env, DATABASE_URL: `file:${path}` } })).exitCode).toBe(0);
  }
  expect(
    backups()
      .map((name) => name.replace(/-\d.*/, ''))
      .sort(),
  ).toEqual(['a-before-upgrade', 'b-before-upgrade']);
});

test('a backup verifies and can be restored if its migration corrects the ledger', async () => {
  createOlder(4);
  const client = new Database(path);
  client.run("UPDATE ledger SET items = items + 2 WHERE name = 'stored'"); // as after erasures by an old version
  client.close();
  expect((await runCli(['migrate'], { env })).exitCode).toBe(0);
  const backup = join(folder.path, backups()[0] ?? '');
  expect(await runCli(['verify', backup], { env })).toMatchObject({ exitCode: 0 });
  expect(await runCli(['restore', backup, '--force'], { env })).toMatchObject({ exitCode: 0 });
});

test('a dry run works while a server has the database open', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
  try {
    expect((await runCli(['migrate', '--dry-run'], { env })).stderr).toBe('No migration is pending.\n');
  } finally {
    await target.stop();
  }
});

test('a database of a newer version says what a downgrade needs', async () => {
  await runCli(['import', '-'], { env, stdin: '' });
  const client = new Database(path);
  client.run(`INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('future', ${Date.UTC(2100, 0, 1)})`);
  client.close();
  const { exitCode, stderr } = await runCli(['migrate', '--dry-run'], { env });
  expect(exitCode).toBe(1);
  expect(stderr).toContain(`this one knows its schema only up to ${journal.entries.at(-1)?.tag}`);
  expect(stderr).toContain('To downgrade, export the rows with it and import them into a new database');
  expect(stderr).not.toContain('.tar');
  const backup = join(folder.path, 'rawlog-before-upgrade-20260301T030000Z.tar');
  writeFileSync(backup, '');
  for (const command of ['serve', 'status', 'rebuild']) {
    const failed = await runCli([command], { env });
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain(`"rawlog restore ${backup} --force" brings it back`);
  }
});
