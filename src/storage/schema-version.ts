import { Database } from 'bun:sqlite';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { createTransact } from './transact.ts';

/*
 * Migrations, and the check that a database has exactly the schema of its version. A restored or copied file may contain
 * triggers or views that drop rows or run with our privileges.
 */

/** The table of applied migrations, with the exact SQL of drizzle's migrator, which created it in older databases. */
const MIGRATIONS_TABLE = `CREATE TABLE IF NOT EXISTS "__drizzle_migrations" (
				id SERIAL PRIMARY KEY,
				hash text NOT NULL,
				created_at numeric
			)`;
/** The tables that Litestream creates in the databases that it replicates (https://litestream.io/how-it-works/). */
const LITESTREAM_TABLES: readonly string[] = [
  'CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)',
  'CREATE TABLE _litestream_lock (id INTEGER)',
];
/** Differences listed in a message; the others are only counted. */
const MAX_LISTED_DIFFERENCES = 3;

/**
 * Whether each migration changes or deletes what existing tables contain, rather than only adding tables, columns, indexes
 * and views. Before it does, the database is backed up: see backup/upgrade-backup.ts.
 */
export const CHANGES_DATA: Readonly<Record<string, boolean>> = {
  '0000_records': false,
  '0001_idempotency': false,
  '0002_ledger': false,
  '0003_columns': false,
  '0004_append_only': true, // replaces the column store and the cached responses
  '0005_used_codes': false,
  '0006_properties': true, // discards the chunks
  '0007_summaries': true, // discards the chunks
  '0008_forwarding': false,
  '0009_record_sources': false,
  '0010_boards': false,
  '0011_labels_by_series': true, // replaces two indexes
  '0012_add_record_views': false, // also marks databases with rows in the short form: see row-form.ts
};

export interface Migration {
  /** The name of its file, without the extension. */
  readonly name: string;
  readonly sql: readonly string[];
  readonly hash: string;
  /** When the migration was generated, in milliseconds since 1970. Serves as its version. */
  readonly folderMillis: number;
  /** As in {@link CHANGES_DATA}; true for one that is not listed. */
  readonly changesData: boolean;
}

/** A row of `sqlite_schema`. */
interface SchemaEntry {
  readonly type: string;
  readonly name: string;
  readonly tbl_name: string;
  readonly sql: string | null;
}

/** The result of comparing a database with the schema of its version. */
export type SchemaVersion =
  /** The database has no tables. */
  | 'empty'
  /** The database was written by a later version of rawlog. */
  | 'newer'
  /** Descriptions of the differences; empty if there are none. */
  | readonly string[];

let loaded: readonly Migration[] | undefined;

/**
 * Returns the migrations, oldest first. The build embeds their folder in the binary (see --asset). There, this file is
 * bundled into the entry point that runs it: main.ts, or the query worker one folder below.
 */
function migrations(): readonly Migration[] {
  if (loaded) return loaded;
  const folders = ['migrations', '../migrations'].map((folder) => join(import.meta.dir, folder));
  const folder = folders.find((candidate) => existsSync(candidate)) ?? '';
  const journal: { entries: { tag: string }[] } = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8'));
  // drizzle reads the files in the order of the journal, and drops their names
  loaded = readMigrationFiles({ migrationsFolder: folder }).map((migration, i) => {
    const name = journal.entries[i]?.tag ?? '';
    return { ...migration, name, changesData: CHANGES_DATA[name] ?? true };
  });
  return loaded;
}

/** Compares a database with the schema of its recorded version, which is built by migrating an empty database. */
export function compareSchema(client: Database): SchemaVersion {
  const found = entriesOf(client);
  if (found.length === 0) return 'empty';
  // Only a table of migrations is read, and no view can have its name. A later version may have other triggers and views.
  const version = versionOf(client, found);
  if (version > (migrations().at(-1)?.folderMillis ?? 0)) return 'newer';
  if (version !== 0 && !migrations().some(({ folderMillis }) => folderMillis === version)) {
    return [`its last migration, ${version}, is unknown`];
  }
  const expected = schemaOf(version);
  // triggers and views do harm, so they come first in a message
  const active = found.filter(({ type }) => type !== 'table' && type !== 'index');
  const unknown = active.filter(
    (entry) => !expected.some(({ type, name }) => type === entry.type && name === entry.name),
  );
  if (unknown.length > 0) return summarize(unknown.map((entry) => `it contains ${describe(entry)}`));
  return summarize(differences(found, expected));
}

/** Returns whether a database was written by an earlier version, so that migrations are pending. */
export function isOutdated(client: Database): boolean {
  return versionOf(client, entriesOf(client)) < (migrations().at(-1)?.folderMillis ?? 0);
}

/** Returns the migrations that the next {@link migrate} applies, oldest first. */
export function pendingMigrations(client: Database): readonly Migration[] {
  const version = versionOf(client, entriesOf(client));
  return migrations().filter(({ folderMillis }) => folderMillis > version);
}

/** Returns whether the next {@link migrate} changes what existing tables contain. */
export function isDataChanging(client: Database): boolean {
  return schemaVersionOf(client) > 0 && pendingMigrations(client).some(({ changesData }) => changesData);
}

/** Returns the name of the last migration of this version of rawlog. */
export function latestMigration(): string {
  return migrations().at(-1)?.name ?? '';
}

/** Returns the schema version of a database: that of its last applied migration; 0 if there is none. */
export function schemaVersionOf(client: Database): number {
  return versionOf(client, entriesOf(client));
}

/** Applies pending migrations in one transaction. drizzle's migrator would hide why a statement fails, as on a full disk. */
export function migrate(client: Database): void {
  const pending = pendingMigrations(client);
  if (pending.length > 0) createTransact(client)(() => apply(client, pending));
}

function apply(client: Database, list: readonly Migration[]): void {
  client.run(MIGRATIONS_TABLE);
  for (const { sql, hash, folderMillis } of list) {
    for (const statement of sql) client.run(statement);
    client.run('INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?, ?)', [hash, folderMillis]);
  }
}

/** Returns the version of the last applied migration; 0 if there is none. */
function versionOf(client: Database, entries: readonly SchemaEntry[]): number {
  if (!entries.some(({ name, type }) => name === '__drizzle_migrations' && type === 'table')) return 0;
  const row = client
    .query<{ version: number | null }, []>(
      'SELECT max(CAST(created_at AS INTEGER)) AS version FROM __drizzle_migrations',
    )
    .get();
  return row?.version ?? 0;
}

/** Returns the schema that the migrations up to a version create. */
function schemaOf(version: number): SchemaEntry[] {
  const client = new Database(':memory:');
  try {
    apply(
      client,
      migrations().filter(({ folderMillis }) => folderMillis <= version),
    );
    return entriesOf(client);
  } finally {
    client.close();
  }
}

/** Returns what a database contains, without the tables of Litestream. */
function entriesOf(client: Database): SchemaEntry[] {
  const entries = client.query<SchemaEntry, []>('SELECT type, name, tbl_name, sql FROM sqlite_schema').all();
  return entries.filter(({ sql }) => sql === null || !LITESTREAM_TABLES.includes(sql));
}

function differences(found: readonly SchemaEntry[], expected: readonly SchemaEntry[]): string[] {
  const keyOf = ({ type, name }: SchemaEntry) => `${type} ${name}`;
  const missing = new Map(expected.map((entry) => [keyOf(entry), entry]));
  const descriptions: string[] = [];
  for (const entry of found) {
    const match = missing.get(keyOf(entry));
    missing.delete(keyOf(entry));
    if (!match) descriptions.push(`it contains ${describe(entry)}`);
    else if (match.sql !== entry.sql || match.tbl_name !== entry.tbl_name) {
      descriptions.push(`${describe(entry)} differs`);
    }
  }
  for (const entry of missing.values()) descriptions.push(`${describe(entry)} is missing`);
  return descriptions;
}

function describe({ type, name }: SchemaEntry): string {
  return `the ${type} ${JSON.stringify(name)}`;
}

function summarize(descriptions: readonly string[]): readonly string[] {
  const omitted = descriptions.length - MAX_LISTED_DIFFERENCES;
  return omitted > 0 ? [...descriptions.slice(0, MAX_LISTED_DIFFERENCES), `and ${omitted} more`] : descriptions;
}
