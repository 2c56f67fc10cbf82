import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { ApiError } from '../../src/errors.ts';
import { createUserNames, type NameUse } from '../../src/ingest/user-names.ts';
import { openStorage } from '../../src/storage/database.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { metric, records } from '../storage/log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());

const use = (name: string, kind: NameUse['kind'] = 'metric'): NameUse => ({ kind, name, loc: ['body', name] });

function rejectedNames(admit: () => unknown): unknown {
  try {
    admit();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [error.code, error.issues?.map(({ loc }) => loc[1])];
  }
  return undefined;
}

test('distinct names and types per user are limited, across restarts and until an erasure', async () => {
  const path = join(folder.path, 'names.db');
  const storage = openStorage(path);
  const writer = createWriter(storage);
  let names = createUserNames(writer, storage.hash, 3);
  const admit = async (user: string, uses: NameUse[]) => writer.commit({ ...NOTHING, names: names.admit(user, uses) });
  await admit('ada', [use('a'), use('a', 'analytics'), use('a')]);
  await admit('ada', [use('a')]);
  expect(rejectedNames(() => names.admit('ada', [use('b'), use('c'), use('a'), use('d')]))).toEqual([
    'too_many_names',
    ['c', 'd'],
  ]);
  await admit('ada', [use('b')]); // the rejected request was not counted
  await admit('bob', [use('c')]);
  expect(rejectedNames(() => names.admit('ada', [use('c')]))).toEqual(['too_many_names', ['c']]);
  await admit('ada', [use('a'), use('b'), use('a', 'analytics')]);

  names = createUserNames(writer, storage.hash, 3);
  expect(rejectedNames(() => names.admit('ada', [use('c')]))).toEqual(['too_many_names', ['c']]);
  expect(names.admit('ada', [use('b')])).toEqual([]);

  const reader = openReader(path);
  runJob(eraseUser(reader, 'ada'));
  reader.close();
  names.invalidate('ada');
  expect(names.admit('ada', [use('c'), use('d'), use('e')]).length).toBe(3);
  storage.close();
});

test('names that the column store already contains are exempt from the limit', async () => {
  const path = join(folder.path, 'imported.db');
  const storage = openStorage(path);
  const writer = createWriter(storage);
  await writer.commit({ ...NOTHING, records: records(10, (seq, i) => metric(seq, { metricName: `old ${i}` })) });
  const reader = openReader(path);
  runJob(reader.store.catchUp());
  runJob(reader.store.seal());
  reader.close();
  const names = createUserNames(writer, storage.hash, 2);
  names.admit('ada', [use('new 1'), use('new 2')]);
  for (let i = 0; i < 10; i++) expect(names.admit('ada', [use(`old ${i}`)])).toEqual([]);
  expect(rejectedNames(() => names.admit('ada', [use('old 1'), use('new 3')]))).toEqual(['too_many_names', ['new 3']]);
  // any number of names takes the same number of reads
  let reads = 0;
  const counting = <Args extends unknown[], Result>(read: (...args: Args) => Result) => {
    return (...args: Args): Result => {
      reads++;
      return read(...args);
    };
  };
  const counted = {
    namesOf: counting(writer.namesOf),
    hasRecorded: counting(writer.hasRecorded),
    recordedNames: counting(writer.recordedNames),
  };
  const recorded = createUserNames(counted, storage.hash, 2).recordedOf('ada', 'metric', [
    ...Array.from({ length: 100 }, (_, i) => `other ${i}`),
    'old 3',
  ]);
  expect([[...recorded], reads]).toEqual([['old 3'], 2]);
  expect(rejectedNames(() => names.admit('eve', [use('old 1'), use('old 2'), use('old 3')]))).toEqual([
    'too_many_names',
    ['old 3'],
  ]);
  storage.close();
});
