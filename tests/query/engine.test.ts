import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseTimestamp } from '../../src/formats/timestamp.ts';
import type { PropertyFilter } from '../../src/properties.ts';
import { type ActivityQuery, activity } from '../../src/query/activity.ts';
import { createBudget } from '../../src/query/budget.ts';
import { bucketEdges, formatInZone, type Interval } from '../../src/query/calendar.ts';
import type { EventStep } from '../../src/query/event-step.ts';
import { funnel } from '../../src/query/funnel.ts';
import { serialize } from '../../src/query/serialize.ts';
import type { Kind, LabelFilter } from '../../src/records.ts';
import type { DeletionFilter } from '../../src/storage/deletion-list.ts';
import { runJob } from '../../src/storage/job.ts';
import { eventData, generator, property, propertyFilters } from './random-data.ts';
import * as reference from './reference-queries.ts';
import { expectSame, LIMITS, LOOK_UP_ALWAYS, type NewRow, type Query, stepsOf, TestDatabase } from './test-database.ts';

/*
 * Compares the query engine with the reference implementation on a real database file. Queries run between batches, so
 * that they read rows from memtables, sealed chunks and merged chunks, and after restarts.
 */

const SECOND = 1e6;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;

/** Time zones, each with a time of interest: a clock change, or a boundary of the calendar. */
const SCENES = (
  [
    ['UTC', '2024-02-29T00:00:00Z'],
    ['Europe/Berlin', '2026-03-29T01:00:00Z'],
    ['Europe/Berlin', '2025-10-26T01:00:00Z'],
    ['America/St_Johns', '2026-03-08T05:30:00Z'],
    ['America/St_Johns', '2025-11-02T04:30:00Z'],
    ['America/St_Johns', '2010-11-07T02:31:00Z'], // from 00:01 back to 23:01 on the previous day
    ['America/Sao_Paulo', '2018-11-04T03:00:00Z'], // from 00:00 to 01:00
    ['Asia/Kathmandu', '1985-12-31T18:30:00Z'], // forward by 15 minutes
    ['Asia/Kathmandu', '2026-01-01T00:00:00Z'],
    ['Pacific/Apia', '2011-12-30T10:00:00Z'], // all of 2011-12-30 was skipped
    ['Australia/Lord_Howe', '2025-10-04T15:30:00Z'], // forward by 30 minutes
  ] as const
).map(([zone, at]) => ({ zone, at: Date.parse(at) * 1000 }));

const USERS = ['anna', 'berta', 'Ärger/ü', "o'b; --", '🦀'];
const NAMES = ['load time', 'größe/π', 'x'];
const LABELS = ['a', 'b', 'c', '', 'A', 'ß/ 🦀', "'"];

const TIME_STEPS = [1, SECOND, 60 * SECOND, 15 * 60 * SECOND, HOUR];

/** Times near a clock change, on the edges of hours or not; some are weeks or years away. */
function timeNear(at: number): fc.Arbitrary<number> {
  const within = (most: number) =>
    fc
      .tuple(fc.integer({ min: -most, max: most }), fc.constantFrom(...TIME_STEPS), fc.constantFrom(0, 0, -1, 1))
      .map(([distance, step, shift]) => Math.round((at + distance) / step) * step + shift);
  return fc.oneof(
    { weight: 6, arbitrary: within(2 * DAY) },
    { weight: 2, arbitrary: within(40 * DAY) },
    { weight: 1, arbitrary: within(4000 * DAY) },
  );
}

const metricValue = fc.integer({ min: -(2 ** 24), max: 2 ** 24 }).map((sixtyfourths) => sixtyfourths / 64 + 0);

function rowsNear(at: number): fc.Arbitrary<NewRow[]> {
  const row = fc.record({
    kind: fc.constantFrom<Kind>('metric', 'analytics'),
    user: fc.constantFrom(...USERS),
    name: fc.constantFrom(...NAMES),
    label: fc.constantFrom(...LABELS),
    time: timeNear(at),
    value: fc.oneof(metricValue, fc.constantFrom(0, 1, 2)),
    data: eventData,
  });
  // some rows share the user and the time of the previous row, under any name
  return fc.array(fc.tuple(row, fc.nat(3)), { maxLength: 60, size: 'max' }).map((rows) => {
    let previous: NewRow | undefined;
    return rows.map(([each, tie]) => {
      if (tie === 0 && previous) {
        const { kind, user, time } = previous;
        previous = { ...each, kind, user, time };
      } else previous = each;
      return previous;
    });
  });
}

const interval: fc.Arbitrary<Interval | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom<Interval[]>(
    ...[1, 5, 15, 30, 45, 72, 90, 144, 480].map((count) => ({ count, unit: 'minute' as const })),
    ...[1, 2, 3, 6, 8, 12, 24].map((count) => ({ count, unit: 'hour' as const })),
    ...[1, 2, 3, 10].map((count) => ({ count, unit: 'day' as const })),
    ...[1, 2, 5].map((count) => ({ count, unit: 'week' as const })),
    ...[1, 2, 5].map((count) => ({ count, unit: 'week' as const, weekStart: 'sunday' as const })),
    ...[1, 3, 5].map((count) => ({ count, unit: 'month' as const })),
    ...[1, 2, 10].map((count) => ({ count, unit: 'year' as const })),
  ),
);

const user = fc.option(fc.constantFrom(...USERS, 'nobody'), { nil: undefined, freq: 3 });
const name = fc.constantFrom(...NAMES, ...NAMES, 'never recorded');
const text = fc.constantFrom(...LABELS, 'no such label');
const labels: fc.Arbitrary<LabelFilter | undefined> = fc.option(
  fc.record({
    anyOf: fc.array(text, { maxLength: 3 }),
    noneOf: fc.array(text, { maxLength: 2 }),
    containsAny: fc.array(
      fc.oneof(text, fc.constantFrom('a', 'b', ' ', 'ü', 'A')).filter((one) => one !== ''),
      { maxLength: 2 },
    ),
  }),
  { nil: undefined, freq: 2 },
);
/** A step that names its type, with a label or without. */
const typedStep: fc.Arbitrary<EventStep> = fc
  .tuple(name, fc.option(text, { nil: undefined, freq: 1 }))
  .map(([type, dataIndex]) => ({ step: `${type}:${dataIndex}`, type, dataIndex }));
/** The type of a query and its steps: labels of the type, or steps of any types. */
const typeAndSteps = fc.oneof(
  fc.tuple(name, fc.array(text, { minLength: 2, maxLength: 5 })).map(([type, list]) => ({
    type: type as string | undefined,
    steps: stepsOf(type, ...list),
  })),
  fc.record({ type: fc.constant(undefined), steps: fc.array(typedStep, { minLength: 2, maxLength: 5 }) }),
);

/** Ranges near a time, often open at one end or both. */
function rangeNear(at: number): fc.Arbitrary<{ from: number | undefined; to: number | undefined }> {
  const end = fc.option(timeNear(at), { nil: undefined, freq: 4 });
  return fc.tuple(end, end).map(([from, to]) => {
    const isReversed = from !== undefined && to !== undefined && from > to;
    return isReversed ? { from: to, to: from } : { from, to };
  });
}

function queryNear({ zone, at }: (typeof SCENES)[number]): fc.Arbitrary<Query> {
  const range = rangeNear(at);
  /** Mostly short ranges with few buckets, since hundreds of buckets cover no additional cases. */
  const rangeFor = (bucketLength: Interval | undefined) =>
    fc.tuple(range, fc.nat(15), timeNear(at)).map(([ends, open, fallback]) => {
      const length = lengthOf(bucketLength);
      if (length > DAY || open === 0) return ends;
      const from = ends.from ?? fallback;
      return { from, to: Math.min(ends.to ?? from + 30 * length, from + 300 * length) };
    });
  const buckets = fc
    .record({
      run: fc.constantFrom('series' as const, 'counts' as const),
      name,
      user,
      interval,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      labels,
      top: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined, freq: 2 }),
      ofData: fc.record({
        properties: propertyFilters,
        groupBy: fc.option(property, { nil: undefined }),
        sum: fc.option(property, { nil: undefined }),
      }),
    })
    .map(({ ofData, ...query }) => (query.run === 'counts' ? { ...query, ...ofData } : query))
    .chain((query) => rangeFor(query.interval).map((ends): Query => ({ ...query, ...ends })));
  const activity = fc
    .record({
      run: fc.constant('activity' as const),
      user,
      interval,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      top: fc.integer({ min: 1, max: 4 }),
      uniqueUsers: fc.boolean(),
    })
    .chain((query) => rangeFor(query.interval).map((ends): Query => ({ ...query, ...ends })));
  const retention = fc
    .record({
      run: fc.constant('retention' as const),
      typeAndSteps,
      hasReturnStep: fc.boolean(),
      user,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      period: fc.constantFrom('day' as const, 'day' as const, 'week' as const, 'month' as const),
      periods: fc.integer({ min: 1, max: 30 }),
      weekStart: fc.constantFrom('monday' as const, 'sunday' as const, undefined),
      labels,
      properties: propertyFilters,
    })
    .chain(({ typeAndSteps: { type, steps }, hasReturnStep, ...query }) => {
      const [step, other] = steps as [EventStep, EventStep];
      const returnStep = hasReturnStep ? other : undefined;
      const unit = query.period;
      return rangeFor({ count: 1, unit }).map((ends): Query => ({ ...query, type, step, returnStep, ...ends }));
    });
  const funnel = fc
    .record({
      run: fc.constant('funnel' as const),
      typeAndSteps,
      user,
      within: fc.constantFrom(1, 3600, 86_400, 7 * 86_400, 9e8),
      labels,
      properties: propertyFilters,
    })
    .map(({ typeAndSteps: { type, steps }, ...query }) => ({ ...query, type, steps }));
  const filter = fc.record({ user, name: fc.option(name, { nil: undefined }), labels, properties: propertyFilters });
  const records = fc.record({
    run: fc.constant('records' as const),
    kind: fc.constantFrom<Kind>('metric', 'analytics'),
    limit: fc.constantFrom(1, 7, 1000),
  });
  return fc.oneof(
    { weight: 6, arbitrary: buckets },
    { weight: 3, arbitrary: activity },
    { weight: 3, arbitrary: retention },
    { weight: 2, arbitrary: fc.tuple(funnel, range).map(([query, ends]): Query => ({ ...query, ...ends })) },
    {
      weight: 1,
      arbitrary: fc.record({
        run: fc.constant('names' as const),
        kind: fc.constantFrom<Kind>('metric', 'analytics'),
        user,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(records, filter, range).map(([query, { properties: ofData, ...rows }, ends]): Query => {
        const filtersData = query.kind === 'analytics' && { properties: ofData };
        return { ...query, filter: { ...rows, ...ends, ...filtersData } };
      }),
    },
  );
}

/** Filters on the property `value` of events, which is a number. */
const properties: fc.Arbitrary<PropertyFilter[]> = fc
  .tuple(fc.subarray(['0', '1', '2']), fc.subarray(['1', '2']), fc.boolean())
  .map(([anyOf, noneOf, isFiltered]) => (isFiltered ? [{ path: ['value'], anyOf, noneOf, containsAny: [] }] : []));

function deletionNear(at: number): fc.Arbitrary<Step> {
  const filter = fc.record({ user, name, labels });
  return fc
    .tuple(fc.constantFrom<Kind>('metric', 'analytics'), filter, rangeNear(at), properties, fc.nat(3))
    .map(([kind, rows, ends, data, n]) => {
      const deleted = { ...rows, ...ends, properties: kind === 'metric' ? [] : data };
      return { do: 'delete', kind, filter: deleted, isDryRun: n === 0 };
    });
}

/** Returns the approximate length of a bucket, in microseconds. */
function lengthOf(bucketLength: Interval | undefined): number {
  if (!bucketLength) return Number.POSITIVE_INFINITY;
  const days = { minute: 1 / 1440, hour: 1 / 24, day: 1, week: 7, month: 30, year: 365 }[bucketLength.unit];
  return Math.round(bucketLength.count * days * DAY);
}

type Step =
  | { do: 'record'; rows: NewRow[] }
  | { do: 'query'; query: Query }
  | { do: 'restart'; flushed: boolean }
  | { do: 'rebuild' }
  | { do: 'erase'; user: string }
  | { do: 'delete'; kind: Kind; filter: DeletionFilter; isDryRun: boolean };

const history = fc.constantFrom(...SCENES).chain((scene) => {
  const query = queryNear(scene).map((value): Step => ({ do: 'query', query: value }));
  const record = rowsNear(scene.at).map((rows): Step => ({ do: 'record', rows }));
  const other = fc.oneof(
    { weight: 6, arbitrary: fc.boolean().map((flushed): Step => ({ do: 'restart', flushed })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'rebuild' }) },
    { weight: 6, arbitrary: deletionNear(scene.at) },
    { weight: 2, arbitrary: fc.constantFrom(...USERS, 'nobody').map((value): Step => ({ do: 'erase', user: value })) },
  );
  return fc
    .tuple(
      fc.array(
        fc.oneof({ weight: 4, arbitrary: record }, { weight: 4, arbitrary: query }, { weight: 3, arbitrary: other }),
        {
          maxLength: 14,
          size: 'max',
        },
      ),
      fc.array(query, { minLength: 3, maxLength: 6, size: 'max' }),
    )
    .map((steps) => steps.flat());
});

async function runStep(database: TestDatabase, step: Step): Promise<void> {
  switch (step.do) {
    case 'record':
      return database.record(step.rows);
    case 'query':
      return database.check(step.query);
    case 'restart':
      return database.restart(step);
    case 'rebuild':
      return runJob(database.engine.maintenance.rebuild());
    case 'erase':
      return database.erase(step.user);
    case 'delete':
      return database.delete(step.kind, step.filter, step.isDryRun);
  }
}

test('matches the reference after any sequence of recording, queries, restarts, rebuilds, erasures and deletions', () =>
  fc.assert(
    fc.asyncProperty(history, fc.boolean(), async (steps, looksUpRows) => {
      const database = new TestDatabase(looksUpRows ? LOOK_UP_ALWAYS : undefined);
      try {
        for (const step of steps) await runStep(database, step);
      } finally {
        database.close();
      }
    }),
    { numRuns: 80 },
  ));

const FROM = Date.parse('2026-03-20T00:00:00Z') * 1000;

test('preserves commit order across chunks after an erasure', async () => {
  const database = new TestDatabase();
  const event = (user: string, label: string): NewRow => ({
    kind: 'analytics',
    user,
    name: 'x',
    label,
    time: 7,
    value: 0,
  });
  const filler = (user: string, count: number) => Array.from({ length: count }, () => event(user, 'filler'));
  // chunks too different in size to be merged; only the first contains the user to erase
  await database.record([event('anna', 'first'), ...filler('berta', 500), ...filler('zoe', 500)]);
  database.restart({ flushed: true });
  await database.record([event('anna', 'second'), ...filler('anna', 50)]);
  database.restart({ flushed: true });
  await database.record([event('anna', 'third')]);
  const ends = { from: undefined, to: undefined, user: undefined };
  const steps = stepsOf('x', 'first', 'second', 'third');
  const query = { run: 'funnel', ...ends, type: 'x', steps, within: 1 } as const;
  database.check(query);
  database.erase('zoe');
  database.check(query);
  expect(JSON.parse(database.engine.queries.funnel(query)).steps[2].users).toBe(1);
  database.close();
});

describe('rows read by an activity query', () => {
  const event = (name: string, user: string, time: number): NewRow => ({
    kind: name === 'load' ? 'metric' : 'analytics',
    user,
    name,
    label: 'a',
    time,
    value: 1,
  });
  const hour = (n: number) => FROM + n * HOUR;
  const ends = { from: undefined, to: undefined, user: undefined, zone: 'UTC' } as const;
  const hours = { ...ends, interval: { count: 1, unit: 'hour' }, top: 10 } as const;

  /** Records 300 rows in chunks of 100: two chunks of metrics, in separate hours, and one of events, over two hours. */
  async function threeChunks(): Promise<TestDatabase> {
    const database = new TestDatabase();
    for (const [name, first, last] of [
      ['load', hour(0), hour(1) - 1],
      ['load', hour(1), hour(2) - 1],
      ['click', hour(1), hour(2)],
    ] as const) {
      const times = Array.from({ length: 100 }, (_, i) => (i === 99 ? last : first + i));
      await database.record(times.map((time, i) => event(name, i % 2 === 0 ? 'anna' : 'berta', time)));
    }
    return database;
  }
  /** Runs a query, and returns the number of rows it read. */
  const rowsReadBy = (database: TestDatabase, query: ActivityQuery): number => {
    const store = database.openStore();
    const budget = createBudget(LIMITS);
    const result = serialize(activity(store, query, budget), budget);
    expectSame(JSON.parse(result), reference.activity(database.rows, query));
    return store.rowsRead;
  };

  test('counts a chunk that lies within a bucket without reading its rows', async () => {
    const database = await threeChunks();
    // metrics are a single chunk while they are in memory
    const total = { ...hours, interval: undefined };
    expect(rowsReadBy(database, total)).toBe(0);
    expect(rowsReadBy(database, { ...total, interval: { count: 1, unit: 'day' } })).toBe(0);
    expect(rowsReadBy(database, { ...hours, interval: { count: 10, unit: 'minute' } })).toBe(300);
    // chunks that cross edges are counted by quarter hour, also while they are in memory
    expect(rowsReadBy(database, hours)).toBe(0);
    expect(rowsReadBy(database, { ...hours, from: hour(1), to: hour(2) })).toBe(0);
    expect(rowsReadBy(database, { ...hours, from: hour(0), to: hour(1) })).toBe(0);
    expect(rowsReadBy(database, { ...total, from: hour(0), to: hour(2) })).toBe(0);
    expect(rowsReadBy(database, { ...total, from: hour(0), to: hour(2) + 1 })).toBe(0);
    expect(rowsReadBy(database, { ...total, from: hour(0) + 1, to: hour(2) + 1 })).toBe(400);
    expect(rowsReadBy(database, { ...total, from: hour(3), to: hour(4) })).toBe(0);
    // a bucket may extend beyond the range
    const day = { count: 1, unit: 'day' } as const;
    expect(rowsReadBy(database, { ...total, interval: day, to: hour(1) })).toBe(0);
    expect(rowsReadBy(database, { ...total, interval: day, from: hour(1) })).toBe(0);
    // chunks whose quarter hours are cut by the range are read twice: to count their rows, and to assign them to buckets
    expect(rowsReadBy(database, { ...total, from: hour(1) + 1, to: hour(2) })).toBe(600);
    // filtering by user requires reading rows: all of them if an end of the range is open
    expect(rowsReadBy(database, { ...total, user: 'anna' })).toBe(300);
    expect(rowsReadBy(database, { ...total, user: 'anna', from: hour(0) })).toBe(300);
    expect(rowsReadBy(database, { ...total, user: 'anna', from: hour(0), to: hour(3) })).toBe(300);
    expect(rowsReadBy(database, { ...total, user: 'anna', from: hour(0), to: hour(1) })).toBe(200);
    // metrics are read again because they span two hours; for berta, events are too
    expect(rowsReadBy(database, { ...hours, user: 'anna', from: hour(0), to: hour(3) })).toBe(500);
    expect(rowsReadBy(database, { ...hours, user: 'berta', from: hour(0), to: hour(3) })).toBe(600);
    expect(rowsReadBy(database, { ...total, user: 'nobody' })).toBe(0);
    database.close();
  });

  test('counts a sealed chunk that lies within a bucket without reading its rows', async () => {
    const database = new TestDatabase();
    // each is less than half the size of the previous one, so that they are not merged
    for (const [size, at] of [
      [200, hour(0)],
      [90, hour(1)],
      [40, hour(2)],
    ] as const) {
      await database.record(Array.from({ length: size }, (_, i) => event('load', 'anna', at + (i % 60) * 60 * SECOND)));
      database.restart({ flushed: true });
    }
    expect(rowsReadBy(database, hours)).toBe(0);
    expect(rowsReadBy(database, { ...hours, from: hour(1) + 1 })).toBe(180);
    expect(rowsReadBy(database, { ...hours, interval: { count: 2, unit: 'hour' }, to: hour(2) })).toBe(0);
    expect(rowsReadBy(database, { ...hours, interval: { count: 30, unit: 'minute' } })).toBe(0);
    expect(rowsReadBy(database, { ...hours, interval: { count: 10, unit: 'minute' } })).toBe(330);
    database.close();
  });
});

test('lists the most frequent of many names, and counts the others together', async () => {
  const database = new TestDatabase();
  const random = generator(6);
  const row = (): NewRow => ({
    kind: random(2) === 0 ? 'metric' : 'analytics',
    user: 'anna',
    name: `name ${random(20) * random(20)}`,
    label: 'a',
    time: FROM + random(3 * DAY),
    value: 0,
  });
  await database.record(Array.from({ length: 3000 }, row));
  const day = { count: 1, unit: 'day' } as const;
  for (const top of [1, 2, 7, 50, 1000]) {
    for (const from of [undefined, FROM + 2.9 * DAY]) {
      database.check({ run: 'activity', from, to: undefined, user: undefined, interval: day, zone: 'UTC', top });
    }
  }
  database.close();
});

test('ranks names by unique users, so that a user with many rows and names crowds nobody out', async () => {
  const database = new TestDatabase();
  const random = generator(8);
  const row = (user: string, name: string): NewRow => ({
    kind: random(3) === 0 ? 'metric' : 'analytics',
    user,
    name,
    label: 'a',
    time: FROM + random(3 * DAY),
    value: 0,
  });
  await database.record(Array.from({ length: 2000 }, () => row('hostile', `noise ${random(30)}`)));
  await database.record(
    Array.from({ length: 500 }, () => row(`user ${random(40)}`, `name ${random(20) * random(20)}`)),
  );
  database.restart({ flushed: true });
  await database.record(Array.from({ length: 500 }, () => row(`user ${random(60)}`, `name ${random(5)}`)));
  const query = { from: undefined, to: undefined, user: undefined, zone: 'UTC', uniqueUsers: true } as const;
  for (const interval of [undefined, { count: 1, unit: 'hour' } as const]) {
    for (const top of [1, 5, 40, 1000]) {
      for (const from of [undefined, FROM + 2.5 * DAY])
        database.check({ run: 'activity', ...query, interval, top, from });
    }
  }
  const { analytics } = JSON.parse(database.runQuery({ run: 'activity', ...query, interval: undefined, top: 5 }));
  expect(analytics.types.map(({ type }: { type: string }) => type.replace(/\d+/, ''))).toEqual(Array(5).fill('name '));
  database.close();
});

test('counts unique users of so many users and buckets that they need no bitmap', async () => {
  const database = new TestDatabase();
  const random = generator(9);
  const users = 7_000;
  const minuteOf = (i: number) => (i * 37) % 9_900;
  const rows = Array.from({ length: 2 * users }, (_, i) => ({
    kind: i % 3 === 0 ? ('metric' as const) : ('analytics' as const),
    user: `user ${random(users)}`,
    name: `name ${i % 4}`,
    label: 'a',
    time: FROM + minuteOf(i) * 60 * SECOND,
    value: 0,
  }));
  await database.record(rows);
  const range = { from: FROM, to: FROM + 9_900 * 60 * SECOND, user: undefined, zone: 'UTC' };
  const query = { ...range, interval: { count: 1, unit: 'minute' } as const, uniqueUsers: true };
  const expectUsers = (actual: { unique_users: number; user_counts: number[] }, of: readonly NewRow[]) => {
    const perMinute = Array.from({ length: 9_900 }, () => new Set<string>());
    for (const { time, user: id } of of) perMinute[(time - FROM) / (60 * SECOND)]?.add(id);
    expect(actual.unique_users).toBe(new Set(of.map(({ user: id }) => id)).size);
    expect(actual.user_counts).toEqual(perMinute.map(({ size }) => size));
  };
  for (const top of [2, 10]) {
    const result = JSON.parse(database.runQuery({ run: 'activity', ...query, top }));
    const events = rows.filter(({ kind }) => kind === 'analytics');
    expectUsers(result, rows);
    expectUsers(result.analytics, events);
    const listed = result.analytics.types.map(({ type }: { type: string }) => type);
    expect(listed).toHaveLength(Math.min(top, 4));
    for (const entry of result.analytics.types)
      expectUsers(
        entry,
        events.filter(({ name }) => name === entry.type),
      );
    expectUsers(
      result.analytics.other,
      events.filter(({ name }) => !listed.includes(name)),
    );
  }
  database.close();
});

test('reports cohort retention for 30 days, including local days of 23 and 25 hours', async () => {
  for (const [first, change] of [
    ['2026-03-28', '2026-03-29'],
    ['2026-10-24', '2026-10-25'],
  ] as const) {
    const database = new TestDatabase();
    const at = (date: string, time: string, days = 0) =>
      Number(
        Temporal.PlainDate.from(date).add({ days }).toZonedDateTime({ timeZone: 'Europe/Berlin', plainTime: time })
          .epochMilliseconds,
      ) * 1000;
    const event = (user: string, label: string, time: number): NewRow => ({
      kind: 'analytics',
      user,
      name: 'x',
      label,
      time,
      value: 0,
    });
    await database.record([
      event('anna', 'later', at(change, '23:59:59')),
      // the first and last second of day 30, and the start of day 31
      event('anna', 'later', at(first, '00:00', 30)),
      event('berta', 'later', at(first, '23:59:59', 30)),
      event('zoe', 'later', at(first, '00:00', 31)),
      // out of order: rows stored last happened first
      event('anna', 'step', at(change, '12:00')),
      event('anna', 'step', at(first, '23:59:59')),
      event('berta', 'step', at(first, '00:00')),
      event('zoe', 'step', at(first, '12:00')),
    ]);
    const ends = { from: at(first, '00:00'), to: at(first, '00:00', 40), user: undefined };
    const query = {
      ...ends,
      type: 'x',
      step: stepsOf('x', 'step')[0],
      returnStep: undefined,
      zone: 'Europe/Berlin',
      period: 'day',
      periods: 30,
    } as const;
    database.check({ run: 'retention', ...query });
    const { cohorts } = JSON.parse(database.engine.queries.retention(query));
    expect(cohorts).toHaveLength(40);
    expect(cohorts[0]).toMatchObject({ users: 3, returned: [1, ...Array(28).fill(0), 2] });
    expect(cohorts[1]).toMatchObject({ users: 0, returned: Array(30).fill(0) });
    expect(cohorts[10].returned).toEqual([...Array(29).fill(0), null]);
    expect(cohorts[39].returned).toEqual(Array(30).fill(null));
    database.close();
  }
});

describe('a database with one series per case', () => {
  let database: TestDatabase;
  let name = '';
  beforeAll(() => {
    database = new TestDatabase();
  });
  afterAll(() => database.close());
  /** Records rows under a new name, to which `suffix` is added. */
  const record = (kind: Kind, rows: readonly { suffix?: string; label?: string; time: number; value?: number }[]) => {
    name = `series ${database.rows.length} of ${kind}`;
    return database.record(
      rows.map(({ suffix = '', ...row }) => ({
        kind,
        user: 'anna',
        name: name + suffix,
        label: 'a',
        value: 0,
        ...row,
      })),
    );
  };
  const all = { user: undefined, from: undefined, to: undefined, top: undefined };

  test('returns finite percentiles between the minimum and maximum for any finite values', () => {
    const extreme = fc.constantFrom(Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, 0, 1e-300);
    const value = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), extreme);
    return fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 12 }), async (values) => {
        await record(
          'metric',
          values.map((value, time) => ({ time, value: value + 0 })),
        );
        const response = database.engine.queries.series({ ...all, name, interval: undefined, zone: 'UTC' });
        const [bucket] = JSON.parse(response).buckets;
        const [min, max] = [Math.min(...values), Math.max(...values)];
        expect(bucket).toMatchObject({ count: values.length, min: min + 0, max: max + 0 });
        for (const key of ['p50', 'p95', 'p99']) {
          expect(bucket[key]).toBeGreaterThanOrEqual(min);
          expect(bucket[key]).toBeLessThanOrEqual(max);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('counts every funnel step that some choice of events reaches', () => {
    const suffix = fc.constantFrom('', ' 2');
    const event = fc.record({
      suffix,
      label: fc.constantFrom('a', 'b', 'c'),
      time: fc.nat(8).map((seconds) => seconds * SECOND),
    });
    const step = fc.tuple(suffix, fc.constantFrom('a', 'b', 'c', undefined));
    const steps = fc.array(step, { minLength: 2, maxLength: 4 });
    const within = fc.integer({ min: 1, max: 8 });
    return fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 9 }), steps, within, async (events, given, limit) => {
        await record('analytics', events);
        const path = given.map(([end, dataIndex]): EventStep => ({ step: 'x', type: name + end, dataIndex }));
        const query = { ...all, type: undefined, steps: path, within: limit };
        const response = JSON.parse(database.engine.queries.funnel(query));
        const userRows = database.rows
          .filter((row) => row.name.startsWith(name))
          .sort((a, b) => a.time - b.time || a.seq - b.seq);
        const reached = reference.reachableSteps(userRows, path, limit * SECOND);
        const users = response.steps.map(({ users }: { users: number }) => users);
        expect(users).toEqual(path.map((_, i) => (i < reached ? 1 : 0)));
      }),
      { numRuns: 200 },
    );
  });
});

test('computes the same funnel in any number of parts of the users', async () => {
  const database = new TestDatabase();
  const random = generator(7);
  const event = (): NewRow => ({
    kind: 'analytics',
    user: `user ${random(200) * random(20)}`,
    name: NAMES[random(3)] as string,
    label: `label ${random(4)}`,
    time: FROM + random(100) * HOUR,
    value: 0,
  });
  await database.record(Array.from({ length: 20_000 }, event));
  const [first, second] = NAMES as [string, string];
  const query = {
    ...{ user: undefined, from: undefined, to: undefined, within: 48 * 3600 },
    type: undefined,
    steps: [
      { step: '1', type: first, dataIndex: undefined },
      { step: '2', type: second, dataIndex: undefined },
      ...stepsOf(first, 'label 1', 'label 2'),
      { step: '5', type: second, dataIndex: undefined },
    ],
  };
  const expected = reference.funnel(database.rows, query);
  expect(expected.steps.at(-1)?.users).toBeGreaterThan(100);
  const matching = database.rows.filter(({ name: type }) => type === first || type === second).length;
  const scans: number[] = [];
  for (const [partBytes, keptEvents] of [
    [1e9, matching],
    [10_000, matching],
    [1e9, matching - 1],
    [150_000, 0],
    [50_000, 0],
    [10_000, 0],
    [5_000, 0],
  ] as const) {
    const store = database.openStore();
    let reserved = 0;
    let peak = 0;
    const budget = createBudget(LIMITS);
    const reserve = (bytes: number) => {
      reserved += bytes;
      peak = Math.max(peak, reserved);
    };
    expectSame(funnel(store, query, { ...budget, reserve }, { partBytes, keptEvents }), expected);
    scans.push(store.rowsRead / matching);
    expect(peak).toBeLessThan(partBytes + 24 * keptEvents + 100_000);
  }
  // one scan to count the events, and one per part unless all events are kept
  const [kept, keptInParts, once, ...several] = scans;
  expect([kept, keptInParts, once]).toEqual([1, 1, 2]);
  expect(several).toEqual(several.toSorted((a, b) => a - b));
  expect(several[0]).toBeGreaterThan(2);
  expect(several.at(-1)).toBeGreaterThan(16);
  database.close();
});

describe('daily buckets', () => {
  test.each(SCENES.map(({ zone, at }) => [zone, new Date(at / 1000).toISOString(), at] as const))(
    'match the local day of every row in %s around %s',
    (zone, _, at) => {
      const dayOf = (time: number) => reference.formatTime(time, zone).slice(0, 10);
      const starts = bucketEdges(at - 5 * DAY, at + 5 * DAY, { count: 1, unit: 'day' }, zone) ?? new Float64Array();
      const days = [...starts].map(dayOf);
      expect(new Set(days).size).toBe(days.length);
      for (let time = at - 5 * DAY; time < at + 5 * DAY; time += 7 * 60 * SECOND) {
        const bucket = starts.findLastIndex((start) => start <= time);
        // a clock that goes back across midnight repeats the end of the previous day
        const isRepeated = zone === 'America/St_Johns' && days[bucket - 1] === dayOf(time);
        if (!isRepeated) expect(dayOf(time)).toBe(days[bucket] as string);
      }
    },
  );
});

test('formats bucket starts that parse to the same time, even where offsets have seconds', () => {
  for (const zone of ['Africa/Monrovia', 'Europe/Amsterdam', 'Asia/Kolkata']) {
    for (const year of [1895, 1935, 1965, 2026]) {
      const from = Date.UTC(year, 5, 1) * 1000;
      for (const edge of bucketEdges(from, from + 3 * DAY, { count: 1, unit: 'day' }, zone) ?? []) {
        expect(parseTimestamp(formatInZone(edge, zone))).toBe(edge);
      }
    }
  }
});
