import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Interval } from '../../src/query/calendar.ts';
import type { EventStep } from '../../src/query/event-step.ts';
import { runJob } from '../../src/storage/job.ts';
import { eventData, property, propertyFilters } from './random-data.ts';
import { type NewRow, type Query, TestDatabase } from './test-database.ts';

/*
 * Compares queries about properties with the reference implementation, in every state that the columns of a property can
 * be in. The number of queries per state can be raised: PROPERTY_QUERIES=5000 npx bun test tests/query/properties.test.ts
 */

const QUERIES_PER_STATE = Number(Bun.env['PROPERTY_QUERIES'] ?? 100);

const DAY = 86_400e6;
const START = Date.parse('2026-03-27T00:00:00Z') * 1000;
const TYPES = ['signup', 'purchase'];
const STEPS = ['a', 'b', 'c'];
const USERS = ['anna', 'berta', 'carla', 'dora'];

const row = fc.record({
  kind: fc.constant('analytics' as const),
  user: fc.constantFrom(...USERS),
  name: fc.constantFrom(...TYPES),
  label: fc.constantFrom(...STEPS),
  time: fc.integer({ min: 0, max: 500 }).map((hundredths) => START + hundredths * (DAY / 100)),
  value: fc.constant(0),
  data: eventData,
});

/** Returns the same random rows on each run. */
function sampleRows(count: number, seed: number): NewRow[] {
  return fc.sample(row, { numRuns: count, seed });
}

const eventStep: fc.Arbitrary<EventStep> = fc.record({
  step: fc.constant('as sent'),
  type: fc.constantFrom(...TYPES),
  dataIndex: fc.constantFrom(...STEPS, undefined),
});
const time = fc.option(
  fc.integer({ min: 0, max: 6 }).map((days) => START + days * DAY),
  { nil: undefined, freq: 2 },
);
const queries: fc.Arbitrary<Query> = fc
  .record({
    run: fc.constantFrom(
      'counts' as const,
      'counts' as const,
      'counts' as const,
      'funnel' as const,
      'retention' as const,
    ),
    name: fc.constantFrom(...TYPES, ...TYPES, 'never recorded'),
    user: fc.option(fc.constantFrom(...USERS, 'nobody'), { nil: undefined, freq: 2 }),
    ends: fc.tuple(time, time),
    zone: fc.constantFrom('UTC', 'Europe/Berlin'),
    interval: fc.constantFrom<(Interval | undefined)[]>(
      undefined,
      { count: 1, unit: 'day' },
      { count: 6, unit: 'hour' },
    ),
    top: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined, freq: 4 }),
    groupBy: fc.option(property, { nil: undefined, freq: 4 }),
    sum: fc.option(property, { nil: undefined }),
    properties: propertyFilters,
    steps: fc.array(eventStep, { minLength: 2, maxLength: 3 }),
    isOfOneType: fc.boolean(),
    labels: fc.option(
      fc.record({
        anyOf: fc.subarray(STEPS),
        noneOf: fc.constant([]),
        containsAny: fc.constant([]),
      }),
      { nil: undefined, freq: 2 },
    ),
  })
  .map(({ run, ends: [first, second], steps: anySteps, isOfOneType, interval, top, groupBy, sum, ...query }): Query => {
    const [from, to] =
      first !== undefined && second !== undefined && first > second ? [second, first] : [first, second];
    const base = { ...query, from, to };
    if (run === 'counts') return { ...base, run, interval, top, groupBy: top === undefined ? undefined : groupBy, sum };
    const type = isOfOneType ? query.name : undefined;
    const steps = anySteps.map((step) =>
      type === undefined ? step : { ...step, type, dataIndex: step.dataIndex ?? 'a' },
    );
    if (run === 'funnel') return { ...base, run, type, steps, within: 3 * 86_400 };
    return { ...base, run, type, step: steps[0] as EventStep, returnStep: steps[2], period: 'day', periods: 3 };
  });

describe('queries about properties match the reference', () => {
  let database: TestDatabase;
  beforeAll(() => {
    database = new TestDatabase();
  });
  afterAll(() => database.close());

  /** The states of the database, in order. Each begins where the previous one ended. */
  const states: [name: string, enter: () => void | Promise<void>][] = [
    ['with rows in the memtable', () => database.record(sampleRows(200, 1))],
    ['with more rows in the memtable', () => database.record(sampleRows(50, 2))],
    ['after a restart', () => database.restart({ flushed: true })],
    ['with sealed and new rows', () => database.record(sampleRows(100, 3))],
    ['after chunks were merged', () => database.restart({ flushed: true })],
    ['with columns built in the background', () => runJob(database.engine.maintenance.catchUp())],
    ['after an erasure', () => database.erase('berta')],
    ['with rows of a user who returned', () => database.record(sampleRows(50, 4))],
    ['after a rebuild', () => runJob(database.engine.maintenance.rebuild())],
    ['after a second erasure', () => database.erase('anna')],
  ];
  test.each(states)('%s', async (_, enter) => {
    await enter();
    fc.assert(
      fc.property(queries, (query) => database.check(query)),
      { numRuns: QUERIES_PER_STATE, endOnFailure: false },
    );
    expect(database.rows.length).toBeGreaterThan(100);
  });
});
