import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseTimestamp } from '../../src/formats/timestamp.ts';
import { type ActivityQuery, activity } from '../../src/query/activity.ts';
import { createBudget } from '../../src/query/budget.ts';
import { bucketEdges, formatInZone, type Interval } from '../../src/query/calendar.ts';
import { serialize } from '../../src/query/serialize.ts';
import type { Kind } from '../../src/records.ts';
import { runJob } from '../../src/storage/job.ts';
import * as reference from './reference.ts';
import { expectSame, LIMITS, type Query, type Recorded, World } from './world.ts';

/*
 * What the service answers, compared with what plain arrays say: over a real database file, with questions
 * between the batches, so that rows are asked for in memory, in chunks, in joined chunks and after restarts.
 */

const SECOND = 1e6;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;

/** Zones, each at a moment at which its clock does something. */
const SCENES = (
  [
    ['UTC', '2024-02-29T00:00:00Z'],
    ['Europe/Berlin', '2026-03-29T01:00:00Z'],
    ['Europe/Berlin', '2025-10-26T01:00:00Z'],
    ['America/St_Johns', '2026-03-08T05:30:00Z'],
    ['America/St_Johns', '2025-11-02T04:30:00Z'],
    ['America/St_Johns', '2010-11-07T02:31:00Z'], // from 00:01 back to 23:01 of the day before
    ['America/Sao_Paulo', '2018-11-04T03:00:00Z'], // from 00:00 to 01:00
    ['Asia/Kathmandu', '1985-12-31T18:30:00Z'], // by a quarter of an hour
    ['Asia/Kathmandu', '2026-01-01T00:00:00Z'],
    ['Pacific/Apia', '2011-12-30T10:00:00Z'], // the whole of 2011-12-30 was left out
    ['Australia/Lord_Howe', '2025-10-04T15:30:00Z'], // by half an hour
  ] as const
).map(([zone, at]) => ({ zone, at: Date.parse(at) * 1000 }));

const USERS = ['anna', 'berta', 'Ärger/ü', "o'b; --", '🦀'];
const NAMES = ['load time', 'größe/π', 'x'];
const LABELS = ['a', 'b', 'c', '', 'A', 'ß/ 🦀', "'"];

const STEPS_OF_TIME = [1, SECOND, 60 * SECOND, 15 * 60 * SECOND, HOUR];

/** A time near the change, on the edges of hours or not; sometimes weeks away, and some years. */
function timeNear(at: number): fc.Arbitrary<number> {
  const within = (most: number) =>
    fc
      .tuple(fc.integer({ min: -most, max: most }), fc.constantFrom(...STEPS_OF_TIME), fc.constantFrom(0, 0, -1, 1))
      .map(([away, step, off]) => Math.round((at + away) / step) * step + off);
  return fc.oneof(
    { weight: 6, arbitrary: within(2 * DAY) },
    { weight: 2, arbitrary: within(40 * DAY) },
    { weight: 1, arbitrary: within(4000 * DAY) },
  );
}

const metricValue = fc.integer({ min: -(2 ** 24), max: 2 ** 24 }).map((sixtyfourths) => sixtyfourths / 64 + 0);

function rowsNear(at: number): fc.Arbitrary<Recorded[]> {
  const row = fc.record({
    kind: fc.constantFrom<Kind>('metric', 'analytics'),
    user: fc.constantFrom(...USERS),
    name: fc.constantFrom(...NAMES),
    label: fc.constantFrom(...LABELS),
    time: timeNear(at),
    value: fc.oneof(metricValue, fc.constantFrom(0, 1, 2)),
  });
  return fc.array(row, { maxLength: 60, size: 'max' });
}

const interval: fc.Arbitrary<Interval | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom<Interval[]>(
    ...[1, 5, 15, 30, 45, 72, 90, 144, 480].map((count) => ({ count, unit: 'minute' as const })),
    ...[1, 2, 3, 6, 8, 12, 24].map((count) => ({ count, unit: 'hour' as const })),
    ...[1, 2, 3, 10].map((count) => ({ count, unit: 'day' as const })),
    ...[1, 2, 5].map((count) => ({ count, unit: 'week' as const })),
    ...[1, 3, 5].map((count) => ({ count, unit: 'month' as const })),
    ...[1, 2, 10].map((count) => ({ count, unit: 'year' as const })),
  ),
);

const user = fc.option(fc.constantFrom(...USERS, 'nobody'), { nil: undefined, freq: 3 });
const name = fc.constantFrom(...NAMES, ...NAMES, 'never recorded');
const label = fc.option(fc.constantFrom(...LABELS, 'no such label'), { nil: undefined, freq: 2 });

function queryNear({ zone, at }: (typeof SCENES)[number]): fc.Arbitrary<Query> {
  const end = fc.option(timeNear(at), { nil: undefined, freq: 4 });
  const range = fc.tuple(end, end).map(([one, other]) => {
    const reversed = one !== undefined && other !== undefined && one > other;
    return reversed ? { from: other, to: one } : { from: one, to: other };
  });
  /** Mostly so short that there are few buckets: hundreds show nothing that a few do not. */
  const rangeFor = (one: Interval | undefined) =>
    fc.tuple(range, fc.nat(15), timeNear(at)).map(([ends, open, otherwise]) => {
      const length = lengthOf(one);
      if (length > DAY || open === 0) return ends;
      const from = ends.from ?? otherwise;
      return { from, to: Math.min(ends.to ?? from + 30 * length, from + 300 * length) };
    });
  const buckets = fc
    .record({
      run: fc.constantFrom('series' as const, 'counts' as const),
      name,
      user,
      interval,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      label: fc.option(label, { nil: undefined, freq: 2 }),
      top: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined, freq: 1 }),
    })
    .chain((query) => rangeFor(query.interval).map((ends): Query => ({ ...query, ...ends })));
  const activity = fc
    .record({
      run: fc.constant('activity' as const),
      user,
      interval,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      top: fc.integer({ min: 1, max: 4 }),
    })
    .chain((query) => rangeFor(query.interval).map((ends): Query => ({ ...query, ...ends })));
  const retention = fc
    .record({
      run: fc.constant('retention' as const),
      name,
      user,
      step: label.map((one) => one ?? 'a'),
      returnStep: label,
      zone: fc.constantFrom(zone, zone, zone, 'UTC'),
      days: fc.integer({ min: 1, max: 30 }),
    })
    .chain((query) => rangeFor({ count: 1, unit: 'day' }).map((ends): Query => ({ ...query, ...ends })));
  const funnel = fc.record({
    run: fc.constant('funnel' as const),
    name,
    user,
    steps: fc.array(fc.constantFrom(...LABELS, 'no such label'), { minLength: 2, maxLength: 5 }),
    within: fc.constantFrom(1, 3600, 86_400, 7 * 86_400, 9e8),
  });
  const filter = fc.record({ user, name: fc.option(name, { nil: undefined }), label });
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
      arbitrary: fc
        .tuple(records, filter, range)
        .map(([query, rows, ends]): Query => ({ ...query, filter: { ...rows, ...ends } })),
    },
  );
}

/** About how long a bucket is, in microseconds. */
function lengthOf(one: Interval | undefined): number {
  if (!one) return Number.POSITIVE_INFINITY;
  const days = { minute: 1 / 1440, hour: 1 / 24, day: 1, week: 7, month: 30, year: 365 }[one.unit];
  return Math.round(one.count * days * DAY);
}

type Step =
  | { do: 'record'; rows: Recorded[] }
  | { do: 'query'; query: Query }
  | { do: 'restart'; flushed: boolean }
  | { do: 'rebuild' }
  | { do: 'erase'; user: string };

const history = fc.constantFrom(...SCENES).chain((scene) => {
  const query = queryNear(scene).map((one): Step => ({ do: 'query', query: one }));
  const record = rowsNear(scene.at).map((rows): Step => ({ do: 'record', rows }));
  const other = fc.oneof(
    { weight: 6, arbitrary: fc.boolean().map((flushed): Step => ({ do: 'restart', flushed })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'rebuild' }) },
    { weight: 2, arbitrary: fc.constantFrom(...USERS, 'nobody').map((one): Step => ({ do: 'erase', user: one })) },
  );
  return fc
    .tuple(
      fc.array(
        fc.oneof({ weight: 4, arbitrary: record }, { weight: 4, arbitrary: query }, { weight: 2, arbitrary: other }),
        {
          maxLength: 14,
          size: 'max',
        },
      ),
      fc.array(query, { minLength: 3, maxLength: 6, size: 'max' }),
    )
    .map((steps) => steps.flat());
});

async function live(world: World, step: Step): Promise<void> {
  switch (step.do) {
    case 'record':
      return world.record(step.rows);
    case 'query':
      return world.check(step.query);
    case 'restart':
      return world.restart(step);
    case 'rebuild':
      return runJob(world.responses.maintenance.rebuild());
    case 'erase':
      return world.erase(step.user);
  }
}

test('whatever is recorded, asked, flushed, restarted, rebuilt and erased, answers are those of the rows', () =>
  fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const world = new World();
      try {
        for (const step of steps) await live(world, step);
      } finally {
        world.close();
      }
    }),
    { numRuns: 80 },
  ));

/** A random number generator that gives the same numbers at each run. */
function generator(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return Number(((state >> 33n) * BigInt(below)) >> 31n);
  };
}

const MANY_FROM = Date.parse('2026-03-20T00:00:00Z') * 1000;

/** Rows over two weeks, mostly in the order of time, some late and some very late. */
function manyRows(count: number, seed: number): Recorded[] {
  const random = generator(seed);
  return Array.from({ length: count }, (_, i) => ({
    kind: random(3) === 0 ? 'analytics' : 'metric',
    user: `user ${random(50) * random(20)}`,
    name: NAMES[random(2)] as string,
    label: `label ${random(30) + random(30)}`,
    time: MANY_FROM + Math.floor((i / count) * 14 * DAY) - (random(20) === 0 ? random(14) * DAY : random(1e9)),
    value: random(2 ** 30) / 64 - 2 ** 22,
  }));
}

const MANY_QUERIES = ([undefined, 'user 12', 'user 0'] as const).flatMap((who): Query[] => {
  const base = { user: who, from: undefined, to: undefined, label: undefined, top: undefined, zone: 'Europe/Berlin' };
  const day = { count: 1, unit: 'day' } as const;
  const hours = { count: 6, unit: 'hour' } as const;
  const noon = MANY_FROM + 3.5 * DAY;
  return (['series', 'counts'] as const).flatMap((run): Query[] => [
    { run, ...base, name: NAMES[0] as string, interval: day },
    { run, ...base, name: NAMES[1] as string, interval: undefined, top: 5 },
    { run, ...base, name: NAMES[0] as string, interval: hours, from: noon, to: noon + 4 * DAY, top: 3 },
    { run, ...base, name: NAMES[0] as string, interval: hours, to: noon, label: 'label 30' },
    { run: 'names', kind: run === 'series' ? 'metric' : 'analytics', user: who },
    { run: 'funnel', ...base, name: NAMES[0] as string, steps: ['label 20', 'label 21', 'label 20'], within: 86_400 },
    { run: 'activity', ...base, interval: hours, top: run === 'series' ? 10 : 1 },
    { run: 'activity', ...base, interval: day, from: noon, to: noon + 4 * DAY, top: 1 },
    { run: 'retention', ...base, name: NAMES[0] as string, step: 'label 20', returnStep: undefined, days: 14 },
    {
      run: 'retention',
      ...base,
      name: NAMES[1] as string,
      step: 'label 30',
      returnStep: 'label 31',
      days: 3,
      to: noon,
    },
  ]);
});

/** The answers to all of {@link MANY_QUERIES}, as they are sent. */
function textsOf(world: World): string[] {
  return MANY_QUERIES.map((query) => world.answer(query));
}

test('so many rows that they are flushed and joined several times are all counted, once', async () => {
  const world = new World();
  const rows = manyRows(140_000, 1);
  for (let i = 0; i < rows.length; i += 10_000) {
    await world.record(rows.slice(i, i + 10_000));
    if (i % 40_000 === 0) world.check(MANY_QUERIES[i / 40_000] as Query);
  }
  for (const query of MANY_QUERIES) world.check(query);
  const before = textsOf(world);
  world.restart({ flushed: false });
  expect(textsOf(world)).toEqual(before);
  runJob(world.responses.maintenance.rebuild());
  expect(textsOf(world)).toEqual(before);
  world.restart({ flushed: true });
  expect(textsOf(world)).toEqual(before);
  world.close();
});

test('after an erasure responses are, to the letter, those of a log without that user', async () => {
  const [world, without] = [new World(), new World()];
  const rows = manyRows(75_000, 2);
  for (let i = 0; i < rows.length; i += 25_000) {
    const part = rows.slice(i, i + 25_000);
    await world.record(part);
    await without.record(part.filter(({ user: who }) => who !== 'user 12'));
    if (i === 0) textsOf(world);
  }
  const expected = textsOf(without);
  expect(textsOf(world)).not.toEqual(expected);
  world.erase('user 12');
  expect(textsOf(world)).toEqual(expected);
  world.erase('user 12');
  world.restart({ flushed: false });
  expect(textsOf(world)).toEqual(expected);
  runJob(world.responses.maintenance.rebuild());
  expect(textsOf(world)).toEqual(expected);
  world.close();
  without.close();
});

test('a reader that was flushed by another one goes on with what is in the file', async () => {
  const world = new World();
  const rows = manyRows(3000, 3);
  const query = MANY_QUERIES[0] as Query;
  for (let i = 0; i < 10; i++) {
    await world.record(rows.slice(i * 300, i * 300 + 300));
    world.check(query);
    world.restart({ flushed: i % 3 !== 0 });
    world.check(query);
    // a range that begins with the very last row, and one that ends right before the first
    const times = world.items
      .filter((item) => item.kind === 'metric' && item.name === NAMES[0])
      .map(({ time }) => time);
    world.check({ ...query, from: Math.max(...times) } as Query);
    world.check({ ...query, to: Math.min(...times) } as Query);
    world.check({ ...query, to: Math.min(...times) + 1 } as Query);
  }
  world.close();
});

test('a chunk that is asked for, joined with new rows and asked for again has the new rows', async () => {
  const world = new World();
  // of one series, as many as are kept in memory: the second time they are joined with the first
  const rows = manyRows(65_536, 4).map((row) => ({ ...row, kind: 'metric', name: NAMES[0] as string }) as const);
  for (let i = 0; i < 2; i++) {
    await world.record(rows);
    world.check(MANY_QUERIES[0] as Query);
  }
  world.close();
});

test('after an erasure rows are still in the order of their commits, chunk after chunk', async () => {
  const world = new World();
  const event = (user: string, label: string): Recorded => ({
    kind: 'analytics',
    user,
    name: 'x',
    label,
    time: 7,
    value: 0,
  });
  const filler = (user: string, count: number) => Array.from({ length: count }, () => event(user, 'filler'));
  // chunks so different in size that they are not joined, with the user to erase in the first alone
  await world.record([event('anna', 'first'), ...filler('berta', 500), ...filler('zoe', 500)]);
  world.restart({ flushed: true });
  await world.record([event('anna', 'second'), ...filler('anna', 50)]);
  world.restart({ flushed: true });
  await world.record([event('anna', 'third')]);
  const ends = { from: undefined, to: undefined, user: undefined };
  const query = { run: 'funnel', ...ends, name: 'x', steps: ['first', 'second', 'third'], within: 1 } as const;
  world.check(query);
  world.erase('zoe');
  world.check(query);
  expect(JSON.parse(world.responses.queries.funnel(query)).steps[2].users).toBe(1);
  world.close();
});

describe('what an answer looks at', () => {
  const event = (name: string, user: string, time: number): Recorded => ({
    kind: name === 'load' ? 'metric' : 'analytics',
    user,
    name,
    label: 'a',
    time,
    value: 1,
  });
  const hour = (n: number) => MANY_FROM + n * HOUR;
  const ends = { from: undefined, to: undefined, user: undefined, zone: 'UTC' } as const;
  const hours = { ...ends, interval: { count: 1, unit: 'hour' }, top: 10 } as const;

  /** 300 rows in chunks of 100: two of metrics, in hours of their own, and one of events, over two hours. */
  async function threeChunks(): Promise<World> {
    const world = new World();
    for (const [name, first, last] of [
      ['load', hour(0), hour(1) - 1],
      ['load', hour(1), hour(2) - 1],
      ['click', hour(1), hour(2)],
    ] as const) {
      const times = Array.from({ length: 100 }, (_, i) => (i === 99 ? last : first + i));
      await world.record(times.map((time, i) => event(name, i % 2 === 0 ? 'anna' : 'berta', time)));
    }
    return world;
  }
  /** Runs a query, and returns how many rows it read. */
  const rowsFor = (world: World, query: ActivityQuery): number => {
    const store = world.store();
    const budget = createBudget(LIMITS);
    const result = serialize(activity(store, query, budget), budget);
    expectSame(JSON.parse(result), reference.activity(world.items, query));
    return store.rowsRead;
  };

  test('activity counts a chunk within a bucket without its rows', async () => {
    const world = await threeChunks();
    // metrics are one chunk as long as they are in memory
    const total = { ...hours, interval: undefined };
    expect(rowsFor(world, total)).toBe(0);
    expect(rowsFor(world, { ...total, interval: { count: 1, unit: 'day' } })).toBe(0);
    expect(rowsFor(world, hours)).toBe(300);
    // what the range cuts is read twice: to count its rows, and to put them into buckets
    expect(rowsFor(world, { ...hours, from: hour(1), to: hour(2) })).toBe(600);
    expect(rowsFor(world, { ...hours, from: hour(0), to: hour(1) })).toBe(400);
    expect(rowsFor(world, { ...total, from: hour(0), to: hour(2) })).toBe(200);
    expect(rowsFor(world, { ...total, from: hour(0), to: hour(2) + 1 })).toBe(0);
    expect(rowsFor(world, { ...total, from: hour(0) + 1, to: hour(2) + 1 })).toBe(400);
    expect(rowsFor(world, { ...total, from: hour(3), to: hour(4) })).toBe(0);
    // a bucket may go beyond the range
    const day = { count: 1, unit: 'day' } as const;
    expect(rowsFor(world, { ...total, interval: day, to: hour(1) })).toBe(400);
    expect(rowsFor(world, { ...total, interval: day, from: hour(1) })).toBe(400);
    // which rows are one user's is known from the rows only; without both ends, from all of them
    expect(rowsFor(world, { ...total, user: 'anna' })).toBe(300);
    expect(rowsFor(world, { ...total, user: 'anna', from: hour(0) })).toBe(300);
    expect(rowsFor(world, { ...total, user: 'anna', from: hour(0), to: hour(3) })).toBe(300);
    expect(rowsFor(world, { ...total, user: 'anna', from: hour(0), to: hour(1) })).toBe(200);
    // the metrics again, since they are in two hours; of berta the events, too
    expect(rowsFor(world, { ...hours, user: 'anna', from: hour(0), to: hour(3) })).toBe(500);
    expect(rowsFor(world, { ...hours, user: 'berta', from: hour(0), to: hour(3) })).toBe(600);
    expect(rowsFor(world, { ...total, user: 'nobody' })).toBe(0);
    world.close();
  });

  test('also where the chunks are in the file', async () => {
    const world = new World();
    // each less than half of the one before, so that they are not joined
    for (const [size, at] of [
      [200, hour(0)],
      [90, hour(1)],
      [40, hour(2)],
    ] as const) {
      await world.record(Array.from({ length: size }, (_, i) => event('load', 'anna', at + (i % 60) * 60 * SECOND)));
      world.restart({ flushed: true });
    }
    expect(rowsFor(world, hours)).toBe(0);
    expect(rowsFor(world, { ...hours, from: hour(1) + 1 })).toBe(180);
    expect(rowsFor(world, { ...hours, interval: { count: 2, unit: 'hour' }, to: hour(2) })).toBe(0);
    expect(rowsFor(world, { ...hours, interval: { count: 30, unit: 'minute' } })).toBe(330);
    world.close();
  });
});

test('of very many names those with the most rows are named, and the others are counted', async () => {
  const world = new World();
  const random = generator(6);
  const row = (): Recorded => ({
    kind: random(2) === 0 ? 'metric' : 'analytics',
    user: 'anna',
    name: `name ${random(20) * random(20)}`,
    label: 'a',
    time: MANY_FROM + random(3 * DAY),
    value: 0,
  });
  await world.record(Array.from({ length: 3000 }, row));
  const day = { count: 1, unit: 'day' } as const;
  for (const top of [1, 2, 7, 50, 1000]) {
    for (const from of [undefined, MANY_FROM + 2.9 * DAY]) {
      world.check({ run: 'activity', from, to: undefined, user: undefined, interval: day, zone: 'UTC', top });
    }
  }
  world.close();
});

test('who comes back is told for 30 days, local days of 23 and of 25 hours among them', async () => {
  for (const [first, change] of [
    ['2026-03-28', '2026-03-29'],
    ['2026-10-24', '2026-10-25'],
  ] as const) {
    const world = new World();
    const at = (date: string, time: string, days = 0) =>
      Number(
        Temporal.PlainDate.from(date).add({ days }).toZonedDateTime({ timeZone: 'Europe/Berlin', plainTime: time })
          .epochMilliseconds,
      ) * 1000;
    const event = (user: string, label: string, time: number): Recorded => ({
      kind: 'analytics',
      user,
      name: 'x',
      label,
      time,
      value: 0,
    });
    await world.record([
      event('anna', 'later', at(change, '23:59:59')),
      // the very ends of the thirtieth day after
      event('anna', 'later', at(first, '00:00', 30)),
      event('berta', 'later', at(first, '23:59:59', 30)),
      event('zoe', 'later', at(first, '00:00', 31)),
      // out of order: what was stored last happened first
      event('anna', 'step', at(change, '12:00')),
      event('anna', 'step', at(first, '23:59:59')),
      event('berta', 'step', at(first, '00:00')),
      event('zoe', 'step', at(first, '12:00')),
    ]);
    const ends = { from: at(first, '00:00'), to: at(first, '00:00', 40), user: undefined };
    const query = { ...ends, name: 'x', step: 'step', returnStep: undefined, zone: 'Europe/Berlin', days: 30 };
    world.check({ run: 'retention', ...query });
    const { cohorts } = JSON.parse(world.responses.queries.retention(query));
    expect(cohorts).toHaveLength(40);
    expect(cohorts[0]).toMatchObject({ users: 3, returned: [1, ...Array(28).fill(0), 2] });
    expect(cohorts[1]).toMatchObject({ users: 0, returned: Array(30).fill(0) });
    expect(cohorts[10].returned).toEqual([...Array(29).fill(0), null]);
    expect(cohorts[39].returned).toEqual(Array(30).fill(null));
    world.close();
  }
});

describe('of one series after the other in a log', () => {
  let world: World;
  let name = '';
  beforeAll(() => {
    world = new World();
  });
  afterAll(() => world.close());
  const record = (kind: Kind, rows: readonly { label?: string; time: number; value?: number }[]) => {
    name = `series ${world.items.length} of ${kind}`;
    return world.record(rows.map((row) => ({ kind, user: 'anna', name, label: 'a', value: 0, ...row })));
  };
  const all = { user: undefined, from: undefined, to: undefined, label: undefined, top: undefined };

  test('any finite values have finite percentiles between the least and the greatest', () => {
    const extreme = fc.constantFrom(Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, 0, 1e-300);
    const value = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), extreme);
    return fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 12 }), async (values) => {
        await record(
          'metric',
          values.map((one, time) => ({ time, value: one + 0 })),
        );
        const response = world.responses.queries.series({ ...all, name, interval: undefined, zone: 'UTC' });
        const [bucket] = JSON.parse(response).buckets;
        const [least, greatest] = [Math.min(...values), Math.max(...values)];
        expect(bucket).toMatchObject({ count: values.length, min: least + 0, max: greatest + 0 });
        for (const key of ['p50', 'p95', 'p99']) {
          expect(bucket[key]).toBeGreaterThanOrEqual(least);
          expect(bucket[key]).toBeLessThanOrEqual(greatest);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('no choice of events gets a user further through a funnel than what is counted', () => {
    const event = fc.record({ label: fc.constantFrom('a', 'b', 'c'), time: fc.nat(12).map((one) => one * SECOND) });
    const steps = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 2, maxLength: 4 });
    const within = fc.integer({ min: 1, max: 12 });
    return fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 9 }), steps, within, async (events, path, limit) => {
        await record('analytics', events);
        const response = JSON.parse(world.responses.queries.funnel({ ...all, name, steps: path, within: limit }));
        const own = world.items.filter((item) => item.name === name).sort((a, b) => a.time - b.time || a.seq - b.seq);
        const reached = reference.reachable(own, path, limit * SECOND);
        const users = response.steps.map((step: { users: number }) => step.users);
        expect(users).toEqual(path.map((_, i) => (i < reached ? 1 : 0)));
      }),
      { numRuns: 200 },
    );
  });
});

describe('a row is in the bucket of its own day', () => {
  test.each(SCENES.map(({ zone, at }) => [zone, new Date(at / 1000).toISOString(), at] as const))(
    'in %s around %s',
    (zone, _, at) => {
      const dayOf = (time: number) => reference.text(time, zone).slice(0, 10);
      const starts = bucketEdges(at - 5 * DAY, at + 5 * DAY, { count: 1, unit: 'day' }, zone) ?? new Float64Array();
      const days = [...starts].map(dayOf);
      expect(new Set(days).size).toBe(days.length);
      for (let time = at - 5 * DAY; time < at + 5 * DAY; time += 7 * 60 * SECOND) {
        const bucket = starts.findLastIndex((start) => start <= time);
        // a clock that goes back over midnight shows the day before once more
        const again = zone === 'America/St_Johns' && days[bucket - 1] === dayOf(time);
        if (!again) expect(dayOf(time)).toBe(days[bucket] as string);
      }
    },
  );
});

test('the start of a bucket is a time that reads back, also where an offset has seconds', () => {
  for (const zone of ['Africa/Monrovia', 'Europe/Amsterdam', 'Asia/Kolkata']) {
    for (const year of [1895, 1935, 1965, 2026]) {
      const from = Date.UTC(year, 5, 1) * 1000;
      for (const edge of bucketEdges(from, from + 3 * DAY, { count: 1, unit: 'day' }, zone) ?? []) {
        expect(parseTimestamp(formatInZone(edge, zone))).toBe(edge);
      }
    }
  }
});
