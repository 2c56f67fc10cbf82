import { Database } from 'bun:sqlite';
import { afterAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { counts } from '../../src/query/counts.ts';
import { createQueryEngine, type QueryEngine } from '../../src/query/engine.ts';
import type { BucketQuery } from '../../src/query/selection.ts';
import type { LogRecord } from '../../src/records.ts';
import type { Counts } from '../../src/responses.ts';
import { ColumnStore } from '../../src/storage/columns/column-store.ts';
import { PROPERTY_LIMITS, type PropertyLimits } from '../../src/storage/columns/property-store.ts';
import { openStorage, type Storage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { countingBudget, LIMITS } from '../query/test-database.ts';
import { event, records } from '../storage/log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let databases = 0;

/** A database with events of the type `e`. */
class EventDatabase {
  readonly path = join(folder.path, `properties-${++databases}.db`);
  readonly #storage: Storage = openStorage(this.path);
  #reader: ReaderStorage;
  engine: QueryEngine;
  /** The clock of the column store, in milliseconds since 1970. */
  now = 1.7e12;
  #rows = 0;

  private constructor() {
    this.#reader = openReader(this.path, () => this.now);
    this.engine = createQueryEngine(this.#reader, LIMITS);
  }

  /** Creates a database with events of the users `u 0`, `u 1` and `u 2`. */
  static async create(count: number, dataOf: (i: number) => object): Promise<EventDatabase> {
    const database = new EventDatabase();
    await database.record(count, dataOf);
    return database;
  }

  async record(count: number, dataOf: (i: number) => object): Promise<void> {
    const writer = createWriter(this.#storage);
    const skipped = this.#rows;
    const rows = records(skipped + count, (seq, i) =>
      event(seq, { type: 'e', userId: `u ${i % 3}`, data: JSON.stringify(dataOf(i)) }),
    ).slice(skipped);
    this.#rows += count;
    for (let i = 0; i < rows.length; i += 2_000) {
      const batch = rows.slice(i, i + 2_000);
      await writer.commit({ ...NOTHING, records: batch, counts: [['stored', batch.length]] });
    }
  }

  async commit(rows: readonly LogRecord[]): Promise<void> {
    await createWriter(this.#storage).commit({ ...NOTHING, records: rows, counts: [['stored', rows.length]] });
  }

  get store(): ColumnStore {
    return this.#reader.store;
  }

  /** Replaces the column store by one with other limits. */
  useLimits(limits: PropertyLimits): void {
    const { client, hash } = this.#reader;
    const store = new ColumnStore(client, hash, () => this.now, limits);
    this.#reader = { ...this.#reader, store };
    this.engine = createQueryEngine(this.#reader, LIMITS);
  }

  seal(): void {
    runJob(this.#reader.store.catchUp());
    runJob(this.#reader.store.seal());
  }

  counts(query: Partial<BucketQuery>): Counts {
    runJob(this.#reader.store.catchUp());
    const all = { from: undefined, to: undefined, user: undefined, interval: undefined, zone: 'UTC', top: undefined };
    return JSON.parse(this.engine.queries.counts({ name: 'e', ...all, ...query }));
  }

  /** Returns the count per value of a property. */
  groups(path: readonly string[], query: Partial<BucketQuery> = {}): [value: unknown, count: number][] {
    const { groups = [] } = this.counts({ groupBy: { name: 'value', path }, top: 1000, ...query });
    return groups.map((group) => [(group as Record<string, unknown>)['value'], group.count]);
  }

  /** Returns the paths of the stored columns, with the rows that each covers. */
  columns(): Record<string, number> {
    const client = new Database(this.path, { readonly: true });
    const found = client
      .query<{ path: string; rows: number }, []>(
        `SELECT path, sum(rows) AS rows FROM property_columns JOIN properties ON properties.id = property_id
         JOIN chunks ON chunks.id = chunk_id WHERE chunk_id > 0 AND path IS NOT NULL AND property_columns.checksum >= 0 AND chunk_checksum = chunks.checksum
         GROUP BY path ORDER BY path`,
      )
      .all();
    client.close();
    return Object.fromEntries(found.map(({ path, rows }) => [JSON.parse(path).join('.'), rows]));
  }

  run(sql: string): void {
    this.#reader.client.run(sql);
  }

  verify(): readonly string[] {
    return verifyDatabase(this.#reader.client).problems;
  }

  close(): void {
    this.#reader.close();
    this.#storage.close();
  }
}

test('columns are stored when a query over all users first asks for a property, and not for one user', async () => {
  const database = await EventDatabase.create(3_000, (i) => ({ plan: `p ${i % 3}`, n: i }));
  database.seal();
  const expected = [0, 1, 2].map((i) => [`p ${i}`, 1_000]);
  expect(database.groups(['plan'], { user: 'u 0' })).toEqual([['p 0', 1_000]]);
  expect(database.columns()).toEqual({});
  expect(database.groups(['plan'])).toEqual(expected as never);
  expect(database.columns()).toEqual({ plan: 3_000 });
  expect(database.groups(['plan'], { user: 'u 0' })).toEqual([['p 0', 1_000]]);
  expect(database.verify()).toEqual([]);
  database.close();
});

test('columns of new chunks are built in the background', async () => {
  const database = await EventDatabase.create(3_000, (i) => ({ plan: `p ${i % 3}`, n: i }));
  database.seal();
  database.groups(['plan']);
  database.counts({ sum: { name: 'data.n', path: ['n'] } });
  for (const rows of [250, 250, 1_500]) {
    await database.record(rows, (i) => ({ plan: 'new', n: i }));
    database.seal(); // the last one merges the chunks
  }
  expect(database.columns()).toEqual({});
  expect(runJob(database.engine.maintenance.catchUp())).toBe(false);
  expect(database.columns()).toEqual({ n: 5_000, plan: 5_000 });
  expect(database.groups(['plan'])).toEqual([['new', 2_000], ...[0, 1, 2].map((i) => [`p ${i}`, 1_000])] as never);
  expect(database.counts({ sum: { name: 'data.n', path: ['n'] } }).sum).toBe((5_000 * 4_999) / 2);
  expect(database.verify()).toEqual([]);
  database.close();
});

test('columns are built while queries seal and merge chunks and build columns themselves', async () => {
  const database = await EventDatabase.create(20_000, (i) => ({ plan: `p ${i % 3}` }));
  database.seal();
  await database.record(5_000, (i) => ({ plan: `p ${i % 3}` }));
  database.seal();
  database.groups(['plan'], { from: 0, to: 1 }); // no chunk is read
  database.groups(['other']);
  await database.record(100, (i) => ({ plan: `p ${i % 3}` }));
  const job = database.engine.maintenance.catchUp();
  for (let step = 0; step < 4; step++) {
    job.next();
    await database.record(3_000, (i) => ({ plan: `p ${i % 3}` }));
    database.seal(); // merges a chunk whose column is being built
    database.groups(['other']);
  }
  runJob(job);
  while (runJob(database.engine.maintenance.catchUp())) {
    // more columns to build
  }
  expect(database.columns()).toEqual({ other: 37_100 });
  expect(database.groups(['plan']).reduce((sum, [, count]) => sum + count, 0)).toBe(37_100);
  expect(database.verify()).toEqual([]);
  database.close();
});

test('a query over many event types reads properties without storing columns', async () => {
  const database = await EventDatabase.create(300, () => ({ plan: 'pro' }));
  database.seal();
  database.groups(['plan']);
  const writer = records(50, (seq, i) => event(seq + 10_000, { type: `type ${i}`, data: '{"plan":"pro"}' }));
  await database.commit(writer);
  database.seal();
  const step = { step: 'e', type: 'e', dataIndex: undefined };
  const filter = { path: ['plan'], anyOf: ['pro'], noneOf: [], containsAny: [] };
  const range = { from: undefined, to: undefined, user: undefined, zone: 'UTC' };
  const query = { ...range, type: undefined, step, returnStep: undefined, period: 'day', periods: 1 } as const;
  const result = JSON.parse(database.engine.queries.retention({ ...query, properties: [filter] }));
  expect(result.cohorts).toMatchObject([{ users: 3 }]);
  expect(database.columns()).toEqual({ plan: 300 });
  database.close();
});

test('a query over one user takes no memory for the values of others', async () => {
  const database = await EventDatabase.create(30_000, (i) => ({ id: i % 3 === 0 ? 'mine' : `${i}` }));
  database.seal();
  database.groups(['id']); // builds the column
  const budget = countingBudget();
  const all = { from: undefined, to: undefined, interval: undefined, zone: 'UTC', top: 10 };
  const query = { ...all, name: 'e', user: 'u 0', groupBy: { name: 'id', path: ['id'] } };
  expect(counts(database.store, query, budget)).toMatchObject({ count: 10_000, other: { labels: 0 } });
  expect(budget.reserved()).toBeLessThan(100_000);
  database.close();
});

test.each([1_000, 40_000])('counts %d distinct values of every length, sealed or not', async (count) => {
  const idOf = (i: number) => `${i} ${'x'.repeat(i % 50 === 0 ? 2_000 : 40)}`;
  const database = await EventDatabase.create(2 * count, (i) => ({ id: idOf(i % count) }));
  const check = () => {
    const top = database.counts({ groupBy: { name: 'value', path: ['id'] }, top: 2 });
    expect(top.groups?.map((group) => [(group as Record<string, unknown>)['value'], group.count])).toEqual([
      [idOf(0), 2],
      [idOf(1), 2],
    ]);
    expect(top.other).toMatchObject({ labels: count - 2, count: 2 * count - 4, unique_users: 3 });
    const one = { path: ['id'], anyOf: [idOf(count - 1)], noneOf: [], containsAny: [] };
    expect(database.counts({ properties: [one] })).toMatchObject({ count: 2 });
  };
  check();
  database.seal();
  check();
  check();
  expect(database.verify()).toEqual([]);
  database.close();
});

test('does not store columns with too many long values, and counts them anyway', async () => {
  const texts = Array.from({ length: 1_800 }, (_, i) => `${i} ${Bun.hash(`${i}`).toString(36).repeat(400)}`);
  const database = await EventDatabase.create(1_800, (i) => ({ text: texts[i], plan: i % 2 === 0 ? 'a' : 'b' }));
  const check = () => {
    const filter = { path: ['text'], anyOf: [], noneOf: [], containsAny: [` ${texts[7]?.slice(2, 30)}`] };
    expect(database.groups(['plan'], { properties: [filter] })).toEqual([['b', 1]]);
    expect(database.groups(['text'], { properties: [filter] })).toEqual([[texts[7], 1]]);
  };
  check();
  database.seal();
  check();
  check();
  expect(database.columns()).toEqual({ plan: 1_800 });
  runJob(database.engine.maintenance.catchUp());
  expect(database.columns()).toEqual({ plan: 1_800 });
  check();
  expect(database.verify()).toEqual([]);
  database.close();
});

test('drops the least recently used property beyond the maximum, and blanks its columns', async () => {
  const database = await EventDatabase.create(300, (i) => ({ [`p${i % 70}`]: `secret-${i % 70}` }));
  database.seal();
  for (let i = 0; i < PROPERTY_LIMITS.properties; i++) {
    database.now += 1_000;
    database.groups([`p${i}`]);
  }
  database.now += 1_000;
  database.groups(['p0']); // now p1 is the least recently used
  database.now += 1_000;
  database.groups(['p69']);
  expect(Object.keys(database.columns())).toHaveLength(PROPERTY_LIMITS.properties);
  expect(database.columns()).toHaveProperty('p0');
  expect(database.columns()).not.toHaveProperty('p1');
  runJob(database.engine.maintenance.catchUp());
  const client = new Database(database.path, { readonly: true });
  const kept = client.query<{ n: number }, []>('SELECT count(*) AS n FROM property_columns WHERE length(codes) > 0');
  expect(kept.get()?.n).toBe(PROPERTY_LIMITS.properties);
  client.close();
  expect(database.groups(['p1'])).toContainEqual(['secret-1', 5]);
  database.close();
});

test('drops properties while columns of others are being blanked, and never returns their values', async () => {
  const names = Array.from({ length: PROPERTY_LIMITS.properties + 4 }, (_, i) => `p${i}`);
  const database = await EventDatabase.create(300, () => Object.fromEntries(names.map((name, i) => [name, `v${i}`])));
  database.seal();
  const use = (i: number) => {
    database.now += 1_000;
    expect(database.groups([`p${i}`])).toEqual([[`v${i}`, 300]]);
  };
  for (let i = 0; i <= PROPERTY_LIMITS.properties; i++) use(i); // drops p0
  const job = database.store.buildProperties();
  job.next();
  use(PROPERTY_LIMITS.properties + 1); // drops p1 while the columns of p0 are being blanked
  runJob(job);
  use(PROPERTY_LIMITS.properties + 2);
  use(PROPERTY_LIMITS.properties + 3);
  runJob(database.engine.maintenance.catchUp());
  for (const i of names.keys()) use(i);
  expect(database.verify()).toEqual([]);
  database.close();
});

test('drops the least recently used property when columns take too much space, and only as many as needed', async () => {
  const database = await EventDatabase.create(3_000, (i) => ({ a: i, b: -i, c: i + 0.5, d: i }));
  database.seal();
  database.useLimits({ properties: 64, bytes: 40_000 });
  for (const name of ['a', 'b', 'c', 'a', 'd']) {
    database.now += 1_000;
    expect(database.groups([name])).toHaveLength(1_000);
  }
  const kept = Object.keys(database.columns());
  expect(kept).toContain('a');
  expect(kept).toContain('d');
  expect(kept).not.toContain('b');
  runJob(database.engine.maintenance.catchUp());
  expect(Object.keys(database.columns())).toEqual(kept);
  database.useLimits({ properties: 64, bytes: 1 });
  expect(database.groups(['b'])).toHaveLength(1_000);
  expect(runJob(database.engine.maintenance.catchUp())).toBe(false);
  expect(database.groups(['c'])).toHaveLength(1_000);
  database.close();
});

describe('an erasure', () => {
  test('removes the values of the user from the columns, the results and the file', async () => {
    const database = await EventDatabase.create(30_000, (i) => ({
      plan: i % 3 === 1 ? `secret-${i}-value` : 'shared',
    }));
    database.seal();
    database.groups(['plan']);
    expect(database.columns()).toEqual({ plan: 30_000 });
    runJob(database.engine.maintenance.erase('u 1'));
    expect(database.groups(['plan'])).toEqual([['shared', 20_000]]);
    runJob(database.engine.maintenance.catchUp());
    expect(database.columns()).toEqual({ plan: 20_000 });
    expect(database.verify()).toEqual([]);
    expect(readFileSync(database.path).includes('secret-1-value')).toBe(false);
    database.close();
  });

  test('removes values that are only in the memtable', async () => {
    const database = await EventDatabase.create(300, (i) => ({ plan: `plan of ${i % 3}` }));
    expect(database.groups(['plan'])).toHaveLength(3);
    runJob(database.engine.maintenance.erase('u 1'));
    expect(database.groups(['plan'])).toEqual([
      ['plan of 0', 100],
      ['plan of 2', 100],
    ]);
    database.close();
  });
});

test('a rebuild builds the columns again', async () => {
  const database = await EventDatabase.create(3_000, (i) => ({ plan: `p ${i % 3}` }));
  database.seal();
  const before = database.groups(['plan']);
  runJob(database.engine.maintenance.rebuild());
  expect(database.columns()).toEqual({});
  expect(database.groups(['plan'])).toEqual(before);
  expect(database.columns()).toEqual({ plan: 3_000 });
  database.close();
});

test('verification finds a column that was changed, and one that differs from the rows', async () => {
  const database = await EventDatabase.create(300, (i) => ({ plan: `p ${i % 3}` }));
  database.seal();
  database.groups(['plan']);
  database.run(`UPDATE analytics SET data = '{"plan":"other"}' WHERE seq = (SELECT min(seq) FROM analytics)`);
  expect(database.verify()).toEqual([
    'The values of the property ["plan"] of the event type "e" in chunk 1 differ from those in the rows. Run "rawlog rebuild".',
  ]);
  const client = new Database(database.path);
  client.run('UPDATE chunks SET rows = rows + 1');
  client.close();
  expect(database.verify()).toEqual([expect.stringContaining('contradict its row count')]);
  database.run('UPDATE chunks SET rows = rows - 1');
  database.run('UPDATE property_columns SET codes = zeroblob(300)');
  expect(database.verify()).toEqual([
    'The checksum of the property ["plan"] of the event type "e" in chunk 1 does not match its data. Run "rawlog rebuild".',
  ]);
  database.close();
});
