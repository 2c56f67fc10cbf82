import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { SeriesList } from '../../src/storage/columns/series-list.ts';
import { openStorage } from '../../src/storage/database.ts';
import { temporaryFolder } from '../harness/target.ts';

test('finds the sealed series with any number of names', () => {
  using folder = temporaryFolder();
  const { client, close } = openStorage(join(folder.path, 'rawlog.db'));
  const list = new SeriesList(client);
  list.reload();
  const names = Array.from({ length: 150 }, (_, i) => `name\0 ${i} “ü”`);
  for (const name of names) list.write(list.add('metric', name));
  list.write(list.add('analytics', names[0] as string));
  const namesOf = (searched: readonly string[]) => list.sealed('metric', searched).map(({ name }) => name);
  for (const count of [0, 1, 64, 65, 150])
    expect(namesOf(names.slice(0, count)).toSorted()).toEqual(names.slice(0, count).toSorted());
  expect(namesOf(['name', 'another'])).toEqual([]);
  close();
});
