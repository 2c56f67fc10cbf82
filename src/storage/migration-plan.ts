import type { Database } from 'bun:sqlite';
import { readPageUse } from './reclaiming.ts';
import { isDataChanging, pendingMigrations } from './schema-version.ts';

/*
 * What pending migrations do, and about how long that takes, without applying them.
 */

/**
 * Estimated time in microseconds: per row of a table that a migration reads or rewrites, per chunk of the column store, which
 * is a row of up to 0.5 MB, and per stored row of a rebuild of the column store, which `npm run bench:scale` measures.
 */
const ROW_US = 5;
const CHUNK_US = 2_000;
const REBUILD_ROW_US = 5;
/**
 * Size of a database that is backed up per second, in bytes: it is read, written with pauses, and read again. 59 MB per second
 * were measured with 185 MB on a busy machine.
 */
const BACKUP_BYTES_PER_SECOND = 60e6;

/** Tables whose rows are arrays of many values. */
const CHUNK_TABLES = new Set(['chunks', 'chunk_summaries', 'property_columns', 'user_rows']);

/** Statements that change the schema only: their cost does not depend on the rows. */
const SCHEMA_ONLY = /^(?:CREATE TABLE|CREATE VIEW|ALTER TABLE)\b/i;

/** A migration that has not been applied. */
export interface PlannedMigration {
  readonly name: string;
  readonly statements: number;
  /** The rows of existing tables that it reads, rewrites or deletes. */
  readonly tables: readonly { readonly name: string; readonly rows: number }[];
  /** Whether it changes or deletes what existing tables contain. */
  readonly changesData: boolean;
  /** Whether the server rebuilds the column store after it. */
  readonly rebuildsColumnStore: boolean;
}

/** What opening a database with this version does. */
export interface MigrationPlan {
  readonly pending: readonly PlannedMigration[];
  /** Stored metrics and events. */
  readonly rows: number;
  /** Size of the backup before the migrations, in bytes; 0 if none changes data. */
  readonly backupBytes: number;
  /** Estimated time of that backup, in seconds. */
  readonly backupSeconds: number;
  /** Estimated time of the migrations, before the server listens, in seconds. */
  readonly startSeconds: number;
  /** Estimated time to rebuild the column store, while the server records, in seconds; 0 if it is not rebuilt. */
  readonly rebuildSeconds: number;
}

/** Plans the migrations of a database. Reads only; a server may have it open. */
export function planMigrations(client: Database): MigrationPlan {
  const tables = client
    .query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'table'")
    .all()
    .map(({ name }) => name);
  const counts = new Map<string, number>();
  const countOf = (table: string) => {
    // the name is that of an existing table
    const rows =
      counts.get(table) ?? client.query<{ n: number }, []>(`SELECT count(*) AS n FROM "${table}"`).get()?.n ?? 0;
    counts.set(table, rows);
    return rows;
  };
  const pending = pendingMigrations(client).map(({ name, sql, changesData }): PlannedMigration => {
    const statements = sql.map(withoutComments).filter((text) => text !== '');
    const touched = tables.filter((table) =>
      statements.some((text) => !SCHEMA_ONLY.test(text) && text.includes(`\`${table}\``)),
    );
    return {
      name,
      statements: statements.length,
      tables: touched.map((table) => ({ name: table, rows: countOf(table) })).filter(({ rows }) => rows > 0),
      changesData,
      rebuildsColumnStore: statements.some((text) => text.includes("'rebuilding'")),
    };
  });
  const rows = ['metrics', 'analytics']
    .filter((table) => tables.includes(table))
    .reduce((sum, table) => sum + countOf(table), 0);
  const startUs = pending
    .flatMap((migration) => migration.tables)
    .reduce((sum, table) => sum + table.rows * (CHUNK_TABLES.has(table.name) ? CHUNK_US : ROW_US), 0);
  const { pages, pageSize } = readPageUse(client);
  const backupBytes = isDataChanging(client) ? pages * pageSize : 0;
  const isRebuilt = pending.some(({ rebuildsColumnStore }) => rebuildsColumnStore);
  return {
    pending,
    rows,
    backupBytes,
    backupSeconds: Math.ceil(backupBytes / BACKUP_BYTES_PER_SECOND),
    startSeconds: Math.ceil(startUs / 1e6),
    rebuildSeconds: isRebuilt ? Math.ceil((rows * REBUILD_ROW_US) / 1e6) : 0,
  };
}

function withoutComments(statement: string): string {
  return statement.replace(/^\s*--.*$/gm, '').trim();
}
