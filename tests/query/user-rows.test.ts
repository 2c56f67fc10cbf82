import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { KINDS, type Kind } from '../../src/records.ts';
import type { DeletionFilter } from '../../src/storage/deletion-list.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { generator } from './random-data.ts';
import { LOOK_UP_ALWAYS, type NewRow, type Query, stepsOf, TestDatabase } from './test-database.ts';

/*
 * Queries of a single user look up the user's rows by the keys in the index of user rows. Compares them with the reference
 * implementation, also after interruptions of whatever writes the index.
 */

const FROM = Date.parse('2026-03-20T00:00:00Z') * 1000;
const HOUR = 3600 * 1e6;
const USERS = ['anna', 'berta', 'carla', 'dora'] as const;
const NAMES = ['x', 'y', 'z'] as const;

const user = fc.constantFrom(...USERS);
const kind = fc.constantFrom<Kind>('metric', 'analytics');
const steps = fc.integer({ min: 1, max: 30 });
const filter = fc.record({
  name: fc.constantFrom(...NAMES),
  user: fc.option(user, { nil: undefined }),
  labels: fc.constantFrom(undefined, { anyOf: ['a'], noneOf: [], containsAny: [] }),
  from: fc.constantFrom(undefined, FROM + 10 * HOUR),
  to: fc.constant(undefined),
});

type Step =
  | { do: 'record'; rows: number; seed: number }
  | { do: 'seal'; steps: number }
  | { do: 'rebuild'; steps: number }
  | { do: 'erase'; user: string; steps: number }
  | { do: 'delete'; kind: Kind; filter: DeletionFilter; steps: number };

const history = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('record'), rows: fc.nat(80), seed: fc.nat() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('seal'), steps }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('rebuild'), steps }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('erase'), user, steps }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('delete'), kind, filter, steps }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 12, size: 'max' },
);

function rowsOf(count: number, seed: number): NewRow[] {
  const random = generator(seed + 1);
  return Array.from({ length: count }, () => ({
    kind: random(2) === 0 ? 'metric' : 'analytics',
    user: USERS[random(random(4) + 1)] as string,
    name: NAMES[random(3)] as string,
    label: ['a', 'b', `${random(50)}`][random(3)] as string,
    time: FROM + random(100) * HOUR,
    value: random(100),
  }));
}

async function runStep(database: TestDatabase, step: Step): Promise<void> {
  switch (step.do) {
    case 'record':
      return database.record(rowsOf(step.rows, step.seed));
    case 'seal':
      return database.interrupt(function* ({ store }) {
        yield* store.catchUp();
        yield* store.seal();
      }, step.steps);
    case 'rebuild':
      return database.interrupt(({ store }) => store.rebuild(), step.steps);
    case 'erase':
      database.interrupt((reader) => eraseUser(reader, step.user), step.steps);
      database.remove(({ user: owner, seq }) => database.isErased(owner, seq));
      return;
    case 'delete':
      return database.interruptDeletion(step.kind, step.filter, step.steps);
  }
}

/** Queries of one user of every type. */
function queriesOf(owner: string, name: string): Query[] {
  const all = { user: owner, from: undefined, to: undefined, labels: undefined };
  const part = { ...all, from: FROM + 20 * HOUR, to: FROM + 60 * HOUR };
  const ten = { interval: { count: 10, unit: 'hour' as const }, zone: 'UTC' };
  const typed = { type: undefined, steps: [{ step: 'x', type: 'x', dataIndex: undefined }, ...stepsOf('y', 'a')] };
  const properties = [{ path: ['value'], anyOf: ['7', '42'], noneOf: [], containsAny: [] }];
  return [
    { run: 'names', kind: 'metric', user: owner },
    { run: 'names', kind: 'analytics', user: owner },
    ...[all, part].flatMap((ends): Query[] => [
      { run: 'series', ...ends, ...ten, name, top: 2 },
      { run: 'counts', ...ends, ...ten, name, top: 2 },
      { run: 'counts', ...ends, ...ten, name, top: undefined, properties },
      { run: 'activity', ...ends, ...ten, top: 2 },
      { run: 'funnel', ...ends, ...typed, within: 86_400 },
      { run: 'funnel', ...ends, type: name, steps: stepsOf(name, 'a', 'b'), within: 86_400 },
    ]),
    {
      ...{ run: 'retention', ...part, type: undefined, step: typed.steps[0], returnStep: undefined },
      ...{ zone: 'UTC', period: 'day', periods: 3 },
    },
    { run: 'records', kind: 'metric', filter: { ...all, name: undefined }, limit: 7 },
    { run: 'records', kind: 'analytics', filter: { ...part, name }, limit: 1000 },
  ] as Query[];
}

test('single-user queries match the reference after any interrupted seals, rebuilds, erasures and deletions', () =>
  fc.assert(
    fc.asyncProperty(history, async (list) => {
      const database = new TestDatabase(LOOK_UP_ALWAYS);
      try {
        for (const [i, step] of list.entries()) {
          await runStep(database, step);
          const owner = USERS[i % 4] as string;
          // rows that are not applied yet are exported too
          for (const each of KINDS) {
            const own = database.rows.filter((row) => row.kind === each && row.user === owner);
            expect(database.exportedIds(each, owner)).toEqual(own.map(({ id }) => id));
          }
          for (const query of queriesOf(owner, NAMES[i % 3] as string)) database.check(query);
        }
        expect(database.problems()).toEqual([]);
      } finally {
        database.close();
      }
    }),
    { numRuns: 10 },
  ));
