import { Database } from 'bun:sqlite';
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createIdSource } from '../../src/ingest/ids.ts';
import { temporaryFolder } from '../harness/target.ts';
import { spread } from './figures.ts';

/*
 * bun run bench:schema [--rows 1000000] [--rounds 5]
 *
 * What keys and indexes cost an append: the same metrics in transactions of 1,000 rows, WAL and
 * synchronous FULL, under several forms of the table, in turns. src/storage/schema.ts cites it.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '5' } },
});
const ROWS = Number(values.rows);
const BATCH = 1000;

const columns =
  'user_id TEXT NOT NULL, happened_at INTEGER NOT NULL, received_at INTEGER NOT NULL, metric_name TEXT NOT NULL, metric_value REAL NOT NULL, data_string TEXT NOT NULL';
const bySeq = `CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, ${columns}) STRICT`;
const FORMS: Record<string, { ddl: string[]; seq: boolean }> = {
  'integer key derived from the id, no index': { ddl: [bySeq], seq: true },
  'UUID text as key, WITHOUT ROWID': {
    ddl: [`CREATE TABLE t (id TEXT PRIMARY KEY, ${columns}) STRICT, WITHOUT ROWID`],
    seq: false,
  },
  'UUID text as key beside the rowid': { ddl: [`CREATE TABLE t (id TEXT PRIMARY KEY, ${columns}) STRICT`], seq: false },
  'integer key, and an index on (name, time)': {
    ddl: [bySeq, 'CREATE INDEX i ON t (metric_name, happened_at)'],
    seq: true,
  },
  'integer key, and an index on (time)': { ddl: [bySeq, 'CREATE INDEX i ON t (happened_at)'], seq: true },
};

const users = Array.from({ length: 5000 }, () => randomUUID());
const names = Array.from({ length: 20 }, (_, i) => `metric_name_${i}`);
const labels = Array.from({ length: 200 }, (_, i) => `/path/to/page/${i}`);
const start = Date.now();

/** Rows a second, and bytes a row. */
function measure({ ddl, seq: withSeq }: { ddl: string[]; seq: boolean }): { rate: number; size: number } {
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
      const { id, seq } = nextId();
      const rest = [
        users[row % 5000],
        clock * 1000,
        clock * 1000,
        names[row % 20],
        row * 1.5,
        labels[row % 200],
      ] as const;
      if (withSeq) insert.run(seq, id, ...(rest as unknown as [string]));
      else insert.run(id, ...(rest as unknown as [string]));
    }
    database.run('COMMIT');
  }
  const rate = (ROWS / (performance.now() - began)) * 1000;
  insert.finalize();
  database.run('PRAGMA journal_mode = DELETE');
  database.close();
  return { rate, size: statSync(path).size / ROWS };
}

const results = new Map(Object.keys(FORMS).map((name) => [name, [] as { rate: number; size: number }[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, form] of Object.entries(FORMS)) results.get(name)?.push(measure(form));
}
const base = [...(results.values().next().value ?? [])];
for (const [name, rounds] of results) {
  const ratio = spread(rounds.map(({ rate }, i) => rate / (base[i]?.rate ?? rate)));
  console.log(
    `${name.padEnd(44)} ${ratio.padEnd(22)} ${rounds[0]?.size.toFixed(0)} bytes a row; ${spread(
      rounds.map(({ rate }) => rate),
      0,
    )} rows a second`,
  );
}
