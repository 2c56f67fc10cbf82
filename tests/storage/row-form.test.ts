import { Database } from 'bun:sqlite';
import { afterAll, describe, expect, test } from 'bun:test';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { createQueryEngine } from '../../src/query/engine.ts';
import { KINDS, type Kind, type LogRecord } from '../../src/records.ts';
import { blankKeys } from '../../src/storage/blanking.ts';
import { sourceRows } from '../../src/storage/columns/source-rows.ts';
import { openStorage } from '../../src/storage/database.ts';
import { readGrowth } from '../../src/storage/disk-forecast.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { createImporter } from '../../src/storage/import.ts';
import { runJob } from '../../src/storage/job.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { isRecordId, MAX_SEQ, millisecondOf, seqOfId, timePartOf } from '../../src/storage/record-id.ts';
import {
  countRowsAfter,
  createExpiredSum,
  createKeyScan,
  createUserLookup,
  newestId,
  type RecordFilter,
  readKeys,
  readWindow,
} from '../../src/storage/records.ts';
import { countExpired, pruneRecords } from '../../src/storage/retention.ts';
import { encodeRandomPart, formOf, HAPPENED_AT, idOf, RECEIVED_AT } from '../../src/storage/row-form.ts';
import { createSinkStore } from '../../src/storage/sink-store.ts';
import { createRecordReader } from '../../src/storage/user-records.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { createOlderDatabase } from '../harness/older-database.ts';
import { temporaryFolder } from '../harness/target.ts';
import { LIMITS, LOOK_UP_ALWAYS } from '../query/test-database.ts';
import { storeRows } from './filled.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let databases = 0;
const newPath = () => join(folder.path, `${++databases}.db`);

const SHORT_ID = /^[!-u]{10}$/;

const word = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 1, 84, 85, 2 ** 31, 2 ** 32 - 1));
const seqs = fc.oneof(
  fc.integer({ min: 0, max: MAX_SEQ }),
  fc.integer({ min: FIRST_SEQ, max: FIRST_SEQ + 2 ** 45 }),
  fc.constantFrom(0, 1, 4095, 4096, FIRST_SEQ, MAX_SEQ),
);
const EXTREME = Number.MAX_SAFE_INTEGER;
/** A time, in microseconds since 1970: any, or close to that of a `seq`. */
const timeNear = (seq: number) =>
  fc.oneof(
    fc.integer({ min: -EXTREME, max: EXTREME }),
    fc.integer({ min: -4000, max: 4000 }).map((shift) => millisecondOf(seq) * 1000 + shift),
    fc.constantFrom(millisecondOf(seq) * 1000, 0, 1, -1, -8.52e15, EXTREME, -EXTREME),
  );
/** Returns the ID with a `seq` and 64 bits, the first two of which are the variant of a UUID. */
function idWith(seq: number, high: number, low: number): string {
  const hex = [(high & 0x3fffffff) + 0x80000000, low].map((bits) => bits.toString(16).padStart(8, '0')).join('');
  return `${timePartOf(seq)}-${hex.slice(0, 4)}-${hex.slice(4)}`;
}
const recordStamp = seqs.chain((seq) =>
  fc.record({
    seq: fc.constant(seq),
    id: fc.tuple(word, word).map(([high, low]) => idWith(seq, high, low)),
    happenedAt: timeNear(seq),
    receivedAt: timeNear(seq),
  }),
);

/** Opens a table like those with rows, in memory. */
function openTable(): Database {
  const client = new Database(':memory:', { strict: true });
  client.run(
    'CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, happened_at INTEGER NOT NULL, received_at INTEGER NOT NULL) STRICT',
  );
  return client;
}

describe('the form of a row', () => {
  test('every ID and time can be read again, also by SQL', () => {
    using client = openTable();
    const insert = client.prepare('INSERT OR REPLACE INTO t VALUES (?, ?, ?, ?)');
    const read = client.prepare<{ id: string; happenedAt: number; receivedAt: number }, [number]>(
      `SELECT id, ${HAPPENED_AT} AS happenedAt, ${RECEIVED_AT} AS receivedAt FROM t WHERE seq = ?`,
    );
    let short = 0;
    fc.assert(
      fc.property(recordStamp, (stamp) => {
        const form = formOf(stamp);
        insert.run(stamp.seq, form.id, form.happenedAt, form.receivedAt);
        const found = read.get(stamp.seq);
        expect({ ...found, seq: stamp.seq, id: idOf(stamp.seq, found?.id ?? '') }).toEqual(stamp);
        if (form.id === stamp.id) {
          const time = BigInt(millisecondOf(stamp.seq)) * 1000n;
          const differences = [stamp.happenedAt, stamp.receivedAt].map((at) => BigInt(at) - time);
          expect(differences.some((difference) => difference > EXTREME || difference < -EXTREME)).toBe(true);
        } else {
          expect(form.id).toMatch(SHORT_ID);
          short++;
        }
      }),
      { numRuns: 3_000 },
    );
    expect(short).toBeGreaterThan(1_000);
  });

  test('a row that happened when it was received has times of 0, and of one that did not, only the difference', () => {
    const { id, happenedAt, receivedAt } = metric(FIRST_SEQ);
    expect(formOf({ seq: FIRST_SEQ, id, happenedAt, receivedAt })).toEqual({
      id: expect.stringMatching(SHORT_ID),
      happenedAt: 0,
      receivedAt: 0,
    });
    expect(formOf({ seq: FIRST_SEQ, id, happenedAt: happenedAt - 5, receivedAt: receivedAt + 7 })).toMatchObject({
      happenedAt: -5,
      receivedAt: 7,
    });
  });

  test.each([
    ['whose time part is not its key', FIRST_SEQ + 1, metric(FIRST_SEQ).id],
    ['from before 2020', seqOfId('015d3ef7-9800-7000-8000-000000000001'), '015d3ef7-9800-7000-8000-000000000001'],
    ['that is no UUIDv7', FIRST_SEQ, metric(FIRST_SEQ).id.replace('-7', '-4')],
    ['in capitals', FIRST_SEQ, metric(FIRST_SEQ).id.toUpperCase()],
    ['with another variant', FIRST_SEQ, metric(FIRST_SEQ).id.replace('-8000-', '-c000-')],
  ])('an ID %s is stored as it is, with its times', (_title, seq, id) => {
    const stamp = { id, happenedAt: 5, receivedAt: -6 };
    expect(formOf({ seq, ...stamp })).toEqual(stamp);
    expect(idOf(seq, id)).toBe(id);
  });

  test('a blank row has no ID', () => {
    expect(idOf(FIRST_SEQ, '')).toBe('');
  });

  test('a damaged random part is never the ID of a record', () => {
    fc.assert(
      fc.property(word, word, fc.nat(9), fc.string({ minLength: 1, maxLength: 1 }), (high, low, at, character) => {
        const intact = encodeRandomPart((high & 0x3fffffff) + 0x80000000, low);
        const damaged = intact.slice(0, at) + character + intact.slice(at + 1);
        const id = idOf(FIRST_SEQ, damaged);
        // another valid random part is another ID
        if (isRecordId(id)) expect(formOf({ seq: FIRST_SEQ, id, happenedAt: 0, receivedAt: 0 }).id).toBe(damaged);
        expect(id === idOf(FIRST_SEQ, intact)).toBe(damaged === intact);
      }),
    );
    for (const text of ['s8W-"!!!!!', '!!!!!!!!!!', 'uuuuuuuuuu', '          ', 'ä!!!!!!!!!', '\0\0\0\0\0\0\0\0\0\0']) {
      expect(isRecordId(idOf(FIRST_SEQ, text))).toBe(false);
    }
  });
});

const DAY_US = 86_400 * 1e6;
const NOW = Date.UTC(2026, 0, 12);

/** Records of ten days, some of which happened before they were received, with the texts and times of all kinds. */
const RECORDS: readonly LogRecord[] = records(1_200, (_, i) => {
  const seq = FIRST_SEQ + i * 4096 * 700_000 + (i % 3);
  const received = millisecondOf(seq) * 1000;
  const stamp = {
    userId: `u ${i % 9}`,
    receivedAt: received - (i % 4 === 0 ? 1000 : 0),
    happenedAt: i % 5 === 0 ? received - ((i * 37) % 40) * DAY_US - i : i === 7 ? -8.2e15 : received,
  };
  if (i % 3 === 0) {
    return event(seq, { ...stamp, type: `type ${i % 4}`, dataIndex: `l ${i % 7}`, data: `{"n":${i % 5}}` });
  }
  return metric(seq, { ...stamp, metricName: `m ${i % 4}`, metricValue: i / 3, dataString: `l ${i % 5}` });
});

/** Creates a database with some rows as older versions stored them, and then others by recording. */
async function createWith(isOlder: (index: number) => boolean): Promise<string> {
  const path = newPath();
  createOlderDatabase(path, journal.entries.length - 1, (client) => {
    const older = RECORDS.filter((_, i) => isOlder(i));
    const insert = (table: string) => client.prepare(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
    const statements = { metric: insert('metrics'), analytics: insert('analytics') };
    for (const record of older) statements[record.kind].run(...columnsOf(record));
    client.run("INSERT INTO ledger VALUES ('stored', ?)", [older.length]);
  });
  const storage = openStorage(path);
  await storeRows(
    storage,
    RECORDS.filter((_, i) => !isOlder(i)),
  );
  const short = storage.client
    .query<{ n: number }, []>(
      'SELECT (SELECT sum(length(id) = 10) FROM metrics) + (SELECT sum(length(id) = 10) FROM analytics) AS n',
    )
    .get()?.n;
  // one of them happened more than 285 years before it was received
  expect(short).toBe(RECORDS.filter((record, i) => !isOlder(i) && record.happenedAt > -7e15).length);
  storage.close();
  return path;
}

function columnsOf(record: LogRecord): [number, string, string, number, number, string, string | number, string] {
  const { seq, id, userId, happenedAt, receivedAt } = record;
  const stamp = [seq, id, userId, happenedAt, receivedAt] as const;
  return record.kind === 'metric'
    ? [...stamp, record.metricName, record.metricValue, record.dataString]
    : [...stamp, record.type, record.dataIndex, record.data];
}

const ALL: RecordFilter = { user: undefined, name: undefined, from: undefined, to: undefined };
const RANGE = { from: NOW * 1000 - 8 * DAY_US, to: NOW * 1000 - 5 * DAY_US };
/** A user with rows of each kind. */
const USERS = { metric: 'u 4', analytics: 'u 3' } as const;
const isOlderThan = ({ happenedAt }: LogRecord, days: number) => happenedAt < NOW * 1000 - days * DAY_US;
const EVERYTHING = { rows: 1e6, bytes: 1e9 };

/** Returns what each reader of rows returns. */
function readAll(reader: ReaderStorage, path: string) {
  const { client, store } = reader;
  runJob(store.catchUp());
  // counts rows by their time, because more than one was received
  const growth = readGrowth(client, NOW, { seconds: undefined, rules: [] }, 1);
  runJob(store.seal());
  const engine = createQueryEngine(reader, LIMITS);
  const keys = RECORDS.map(({ seq }) => seq);
  const byDay = { interval: { unit: 'day', count: 1 }, zone: 'UTC', from: undefined, to: undefined, top: 1 } as const;
  const sinks = createSinkStore(client, () => 1);
  sinks.register('sink');
  const [sink] = sinks.all();
  const setAside = RECORDS.slice(0, 9).map(({ kind, seq }) => ({ kind, seq, reason: 'no', isPostponed: false }));
  sinks.save(sink?.id ?? 0, { cursors: { metric: 1, analytics: 1 }, importId: 0 }, setAside);
  const readersOf = (kind: Kind) => {
    const { rows: source } = sourceRows(client)(kind, 0);
    const scan = createKeyScan(client, kind, { ...ALL, ...RANGE }, MAX_SEQ)(0);
    const user = USERS[kind];
    return {
      newest: readWindow(client, kind, ALL, { after: MAX_SEQ }, 'newest', EVERYTHING).rows,
      oldest: readWindow(client, kind, { ...ALL, ...RANGE }, { after: 0 }, 'oldest', EVERYTHING),
      byKey: readKeys(client, kind, { ...ALL, ...RANGE }, keys, EVERYTHING),
      ofUser: createRecordReader(reader, kind, { ...ALL, user, ...RANGE }, 'newest')({ after: MAX_SEQ }, EVERYTHING)
        .rows,
      source,
      scan,
      lookup: createUserLookup(client, kind, user)(keys),
      expired: createExpiredSum(client, kind)(keys, RANGE.to),
      after: countRowsAfter(client, kind, FIRST_SEQ + 1, 1e6),
      delivered: [sinks.readBlock(kind, 0, EVERYTHING), sinks.readRows(kind, keys)],
    };
  };
  return {
    readers: KINDS.map(readersOf),
    newestId: newestId(client),
    deadLetters: sinks.deadLetters(sink?.id ?? 0),
    growth: growth && { rowsPerDay: growth.rowsPerDay, days: growth.days },
    series: engine.queries.series({ ...byDay, name: 'm 1', user: undefined }),
    seriesOfUser: engine.queries.series({ ...byDay, name: 'm 1', user: USERS.metric }),
    countsOfUser: engine.queries.counts({ ...byDay, name: 'type 3', user: USERS.analytics }),
    expired: runJob(countExpired(reader, { retention: { seconds: 6 * 86_400, rules: [] }, now: NOW })),
    verified: verifyDatabase(client),
    views: viewsOf(path),
  };
}

/** Returns what other programs read from the views. */
function viewsOf(path: string) {
  using other = new Database(path, { readonly: true });
  return ['metric_records', 'event_records'].map((view) => other.query(`SELECT * FROM ${view} ORDER BY seq`).all());
}

describe('a database with rows in both forms', () => {
  test('gives every reader the same as one with one form', async () => {
    const paths = await Promise.all([() => true, (i: number) => i < 600, () => false].map(createWith));
    const [older, both, recorded] = paths.map((path) => {
      const storage = openStorage(path);
      const reader = openReader(path, Date.now, LOOK_UP_ALWAYS);
      const read = readAll(reader, path);
      reader.close();
      storage.close();
      return read;
    });
    expect(older?.verified).toMatchObject({ problems: [], rows: { metric: 800, analytics: 400 } });
    expect(older?.readers[0]?.oldest.rows.length).toBeGreaterThan(50);
    for (const result of [older?.seriesOfUser, older?.countsOfUser]) {
      expect(JSON.parse(result ?? '').buckets.length).toBeGreaterThan(10);
    }
    expect(older?.deadLetters).toHaveLength(9);
    expect(older?.newestId).toBe(RECORDS.at(-1)?.id);
    expect(older?.growth?.rowsPerDay).toBeGreaterThan(1);
    expect(both).toEqual(older as NonNullable<typeof older>);
    expect(recorded).toEqual(older as NonNullable<typeof older>);
  });

  test('has views that return what was recorded, without blank rows', async () => {
    const path = await createWith((i) => i % 2 === 0);
    const expected = KINDS.map((kind) => RECORDS.filter((record) => record.kind === kind).map(columnsOf));
    expect(viewsOf(path).map((rows) => rows.map((row) => Object.values(row as object)))).toEqual(expected);
    const storage = openStorage(path);
    const reader = openReader(path);
    runJob(eraseUser(reader, 'u 3'));
    expect(verifyDatabase(reader.client).problems).toEqual([]);
    const left = viewsOf(path).map((rows) => rows.map((row) => (row as { user_id: string }).user_id));
    expect(left.map((users) => users.length)).toEqual(
      KINDS.map((kind) => RECORDS.filter((record) => record.kind === kind && record.userId !== 'u 3').length),
    );
    reader.close();
    storage.close();
  });

  test('expires the same rows', async () => {
    const request = { retention: { seconds: 6 * 86_400, rules: [] }, now: NOW };
    const [older, both, recorded] = await Promise.all(
      [() => true, (i: number) => i % 2 === 0, () => false].map(async (isOlder) => {
        const path = await createWith(isOlder);
        const storage = openStorage(path);
        const reader = openReader(path);
        // of all keys, only those of rows before a time
        const keys = Float64Array.from(RECORDS, ({ seq }) => seq);
        const blanked = KINDS.map((kind) => runJob(blankKeys(reader, kind, keys, NOW * 1000 - 20 * DAY_US, undefined)));
        expect(blanked.map(({ rows }) => rows)).toEqual(
          KINDS.map((kind) => RECORDS.filter((record) => record.kind === kind && isOlderThan(record, 20)).length),
        );
        const pruned = runJob(pruneRecords(reader, request));
        expect(verifyDatabase(reader.client).problems).toEqual([]);
        reader.close();
        storage.close();
        return { blanked, pruned, left: viewsOf(path) };
      }),
    );
    const kept = RECORDS.filter((record) => !isOlderThan(record, 6)).length;
    expect(older?.left.flat()).toHaveLength(kept);
    expect(kept).toBeGreaterThan(100);
    expect(both).toEqual(older as NonNullable<typeof older>);
    expect(recorded).toEqual(older as NonNullable<typeof older>);
  });

  test('recognizes imported records in either form, and finds those that differ', async () => {
    const path = await createWith((i) => i % 2 === 0);
    const copy = newPath();
    cpSync(path, copy);
    const storage = openStorage(copy);
    const importer = createImporter({ ...storage, isErased: () => false, onFirstStored: () => {} });
    const outcomesOf = (list: readonly LogRecord[]) => {
      const outcomes: string[] = [];
      while (outcomes.length < list.length) outcomes.push(...importer.store(list.slice(outcomes.length)));
      return [...new Set(outcomes)];
    };
    expect(outcomesOf(RECORDS)).toEqual(['identical']);
    expect(outcomesOf(RECORDS.map((record) => ({ ...record, happenedAt: record.happenedAt + 1 })))).toEqual([
      'different',
    ]);
    expect(outcomesOf(RECORDS.map((record) => ({ ...record, receivedAt: record.receivedAt - 1 })))).toEqual([
      'different',
    ]);
    expect(viewsOf(copy)).toEqual(viewsOf(path));
    // of another node: the same key, but another random part
    const others = RECORDS.slice(0, 20).map((record) => ({ ...record, id: `${record.id.slice(0, -12)}ffffffffffff` }));
    expect(outcomesOf(others)).toEqual(['stored']);
    expect(outcomesOf(others)).toEqual(['identical']);
    expect(outcomesOf(others.map((record) => ({ ...record, userId: 'else' })))).toEqual(['different']);
    const ids = viewsOf(copy).flatMap((rows) => rows.map((row) => (row as { id: string }).id));
    expect(new Set(ids)).toEqual(new Set([...RECORDS, ...others].map(({ id }) => id)));
    storage.close();
  });
});

test('an imported record has the short form, unless it was moved', () => {
  const storage = openStorage(newPath());
  const importer = createImporter({ ...storage, isErased: () => false, onFirstStored: () => {} });
  const own = metric(FIRST_SEQ);
  const other = event(FIRST_SEQ, { id: `${own.id.slice(0, -12)}ffffffffffff` });
  expect(importer.store([own, other])).toEqual(['stored', 'stored']);
  const stored = (table: string) =>
    storage.client.query<{ seq: number; id: string; at: number }, []>(
      `SELECT seq, id, happened_at AS at FROM ${table}`,
    );
  expect(stored('metrics').all()).toEqual([{ seq: FIRST_SEQ, id: expect.stringMatching(SHORT_ID), at: 0 }]);
  expect(stored('analytics').all()).toEqual([{ seq: FIRST_SEQ + 1, id: other.id, at: other.happenedAt }]);
  storage.close();
});
