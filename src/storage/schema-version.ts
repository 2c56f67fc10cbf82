import { Database } from 'bun:sqlite';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { createTransact } from './transact.ts';

/*
 * Migrations, and the check that a database has the schema of its version and nothing beside it. A file that was
 * restored or copied may carry triggers or views that drop rows or run with our rights.
 */

/** The table of applied migrations, as drizzle's migrator creates it: older databases have it in these words. */
const MIGRATIONS_TABLE = `CREATE TABLE IF NOT EXISTS "__drizzle_migrations" (
				id SERIAL PRIMARY KEY,
				hash text NOT NULL,
				created_at numeric
			)`;
/** Differences that a message names; the others are only counted. */
const NAMED_DIFFERENCES = 3;

interface Migration {
  readonly sql: readonly string[];
  readonly hash: string;
  /** When it was made, in milliseconds since 1970: its version. */
  readonly folderMillis: number;
}

/** An entry of `sqlite_schema`. */
interface SchemaEntry {
  readonly type: string;
  readonly name: string;
  readonly tbl_name: string;
  readonly sql: string | null;
}

/** What a database's schema says of it. */
export type SchemaVersion =
  /** It has no tables. */
  | 'empty'
  /** It was written by a later version of rawlog. */
  | 'newer'
  /** It differs from the schema of its version, each difference in words; empty if it does not. */
  | readonly string[];

let loaded: readonly Migration[] | undefined;

/**
 * The migrations, oldest first. Their folder is inside the binary (see --asset in the build), where this file counts as
 * part of the entry that runs it: main.ts, or the query worker one folder below.
 */
function migrations(): readonly Migration[] {
  if (loaded) return loaded;
  const folders = ['migrations', '../migrations'].map((place) => join(import.meta.dir, place));
  loaded = readMigrationFiles({ migrationsFolder: folders.find((folder) => existsSync(folder)) ?? '' });
  return loaded;
}

/** Compares a database with the schema of its recorded version: the migrations up to it, applied to a new database. */
export function compareSchema(client: Database): SchemaVersion {
  const found = entriesOf(client);
  if (found.length === 0) return 'empty';
  // a view may stand in for the table of migrations: nothing else is read before it is known that there is none
  const active = found.filter(({ type }) => type !== 'table' && type !== 'index');
  if (active.length > 0) return named(active.map((entry) => `it has ${describe(entry)}`));
  const version = versionOf(client, found);
  if (version > (migrations().at(-1)?.folderMillis ?? 0)) return 'newer';
  if (version !== 0 && !migrations().some(({ folderMillis }) => folderMillis === version)) {
    return [`its last migration, ${version}, is not one of rawlog's`];
  }
  return named(differences(found, schemaOf(version)));
}

/** Brings the tables up to date in one transaction. drizzle's own migrator hides why a statement fails: a full disk. */
export function migrate(client: Database): void {
  const version = versionOf(client, entriesOf(client));
  const pending = migrations().filter(({ folderMillis }) => folderMillis > version);
  if (pending.length > 0) createTransact(client)(() => apply(client, pending));
}

function apply(client: Database, list: readonly Migration[]): void {
  client.run(MIGRATIONS_TABLE);
  for (const { sql, hash, folderMillis } of list) {
    for (const statement of sql) client.run(statement);
    client.run('INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?, ?)', [hash, folderMillis]);
  }
}

/** The last applied migration; 0 if there is none. */
function versionOf(client: Database, entries: readonly SchemaEntry[]): number {
  if (!entries.some(({ name, type }) => name === '__drizzle_migrations' && type === 'table')) return 0;
  const row = client
    .query<{ version: number | null }, []>(
      'SELECT max(CAST(created_at AS INTEGER)) AS version FROM __drizzle_migrations',
    )
    .get();
  return row?.version ?? 0;
}

/** The schema after the migrations up to a version. */
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

function entriesOf(client: Database): SchemaEntry[] {
  return client.query<SchemaEntry, []>('SELECT type, name, tbl_name, sql FROM sqlite_schema').all();
}

function differences(found: readonly SchemaEntry[], expected: readonly SchemaEntry[]): string[] {
  const keyOf = ({ type, name }: SchemaEntry) => `${type} ${name}`;
  const rest = new Map(expected.map((entry) => [keyOf(entry), entry]));
  const words: string[] = [];
  for (const entry of found) {
    const same = rest.get(keyOf(entry));
    rest.delete(keyOf(entry));
    if (!same) words.push(`it has ${describe(entry)}`);
    else if (same.sql !== entry.sql || same.tbl_name !== entry.tbl_name) words.push(`${describe(entry)} differs`);
  }
  for (const entry of rest.values()) words.push(`${describe(entry)} is missing`);
  return words;
}

function describe({ type, name }: SchemaEntry): string {
  return `the ${type} ${JSON.stringify(name)}`;
}

function named(words: readonly string[]): readonly string[] {
  const more = words.length - NAMED_DIFFERENCES;
  return more > 0 ? [...words.slice(0, NAMED_DIFFERENCES), `and ${more} more`] : words;
}
