import { Database } from 'bun:sqlite';
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createIdSource } from '../../src/ingest/ids.ts';
import { formOf } from '../../src/storage/row-form.ts';
import { temporaryFolder } from '../harness/target.ts';
import { printHeader, printTable } from './report.ts';
import { spread } from './statistics.ts';

/*
 * npm run bench:schema -- [--rows 1000000] [--rounds 5]
 *
 * Measures what forms of a row, keys and indexes cost on insert: the same metrics in transactions of 1,000 rows, with WAL and
 * `synchronous = FULL`, into several schemas of the table, alternately. src/storage/schema.ts cites the results.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '5' } },
});
const ROWS = Number(values.rows);
const BATCH = 1000;

const columns =
  'user_id TEXT NOT NULL, happened_at INTEGER NOT NULL, received_at INTEGER NOT NULL, metric_name TEXT NOT NULL, metric_value REAL NOT NULL, data_string TEXT NOT NULL';
const bySeq = `CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, ${columns}) STRICT`;
/** A schema, and whether its rows have an integer key, and the short form (src/storage/row-form.ts). */
interface Schema {
  readonly ddl: readonly string[];
  readonly seq: boolean;
  readonly isShort: boolean;
}
const SCHEMAS: Record<string, Schema> = {
  'integer key derived from the ID, short form, no index': { ddl: [bySeq], seq: true, isShort: true },
  'integer key, full form, no index': { ddl: [bySeq], seq: true, isShort: false },
  'UUID text as key, WITHOUT ROWID': {
    ddl: [`CREATE TABLE t (id TEXT PRIMARY KEY, ${columns}) STRICT, WITHOUT ROWID`],
    seq: false,
    isShort: false,
  },
  'UUID text as key, in addition to the rowid': {
    ddl: [`CREATE TABLE t (id TEXT PRIMARY KEY, ${columns}) STRICT`],
    seq: false,
    isShort: false,
  },
  // an index on times needs them in full
  'integer key, full form, plus an index on (name, time)': {
    ddl: [bySeq, 'CREATE INDEX i ON t (metric_name, happened_at)'],
    seq: true,
    isShort: false,
  },
  'integer key, full form, plus an index on (time)': {
    ddl: [bySeq, 'CREATE INDEX i ON t (happened_at)'],
    seq: true,
    isShort: false,
  },
};

const users = Array.from({ length: 5000 }, () => randomUUID());
const names = Array.from({ length: 20 }, (_, i) => `metric_name_${i}`);
const labels = Array.from({ length: 200 }, (_, i) => `/path/to/page/${i}`);
const start = Date.now();

/** Measures rows per second and bytes per row of a schema. */
function measure({ ddl, seq: withSeq, isShort }: Schema): { rate: number; size: number } {
  using folder = temporaryFolder();
  const path = join(folder.path, 'bench.db');
  const database = new Database(path, { create: true, strict: true });
  for (const statement of ['PRAGMA journal_mode = WAL', 'PRAGMA synchronous = FULL', ...ddl]) database.run(statement);
  const insert = database.prepare(`INSERT INTO t VALUES (${withSeq ? '?, ' : ''}?, ?, ?, ?, ?, ?, ?)`);
  let clock = start;
  const nextId = createIdSource(() => clock, 0);
  const began = performance.now();
  for (let row = 0; row < ROWS; ) {
    database.run('BEGIN IMMEDIATE');
    for (const end = Math.min(row + BATCH, ROWS); row < end; row++) {
      clock = start + (row >> 3);
      const stamp = { ...nextId(), happenedAt: clock * 1000, receivedAt: clock * 1000 };
      const { id, happenedAt, receivedAt } = isShort ? formOf(stamp) : stamp;
      const values = [
        users[row % 5000],
        happenedAt,
        receivedAt,
        names[row % 20],
        row * 1.5,
        labels[row % 200],
      ] as const;
      if (withSeq) insert.run(stamp.seq, id, ...(values as unknown as [string]));
      else insert.run(id, ...(values as unknown as [string]));
    }
    database.run('COMMIT');
  }
  const rate = (ROWS / (performance.now() - began)) * 1000;
  insert.finalize();
  database.run('PRAGMA journal_mode = DELETE');
  database.close();
  return { rate, size: statSync(path).size / ROWS };
}

printHeader('Schema: insert rate of table schemas, against the first one');
const results = new Map(Object.keys(SCHEMAS).map((name) => [name, [] as { rate: number; size: number }[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, schema] of Object.entries(SCHEMAS)) results.get(name)?.push(measure(schema));
}
const base = [...(results.values().next().value ?? [])];
console.log(`${ROWS} rows per schema, ${BATCH} per transaction, ${values.rounds} rounds; median (min to max)`);
printTable([
  ['schema', 'rows per second', 'rate / rate of the first', 'bytes per row'],
  ...[...results].map(([name, rounds]) => [
    name,
    spread(
      rounds.map(({ rate }) => rate),
      0,
    ),
    spread(rounds.map(({ rate }, i) => rate / (base[i]?.rate ?? rate))),
    rounds[0]?.size.toFixed(0) ?? '-',
  ]),
]);
