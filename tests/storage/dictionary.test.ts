import { afterEach, expect, test } from 'bun:test';
import { join } from 'node:path';
import { Dictionary } from '../../src/storage/columns/dictionary.ts';
import { openStorage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import { createTransact } from '../../src/storage/transact.ts';
import { temporaryFolder } from '../harness/target.ts';

const folder = temporaryFolder();
let opened = 0;
let close = () => {};
afterEach(() => close());

function openDictionary() {
  const storage = openStorage(join(folder.path, `${opened++}.db`));
  ({ close } = storage);
  const { client, hash } = storage;
  return { client, labels: new Dictionary(client, 'labels', createTransact(client), hash) };
}

const scopeOf = (name: string) => 7 + (name.length % 2);
const NAMES = Array.from({ length: 500 }, (_, i) => `label ${i}`);

test('writes new texts in the order of the index, so that neighbors share its pages', () => {
  const { client, labels } = openDictionary();
  const numbers = NAMES.map((name) => labels.numberFor(name, scopeOf(name)));
  const renumbered = labels.arrange((visit) => numbers.forEach(visit));
  for (const [i, name] of NAMES.entries()) {
    const number = renumbered(numbers[i] as number);
    expect([labels.numberFor(name, scopeOf(name)), labels.text(number)]).toEqual([number, name]);
  }
  runJob(labels.write());
  const rows = client
    .query<{ scope: number; hash: number }, []>('SELECT series_id AS scope, hash FROM labels ORDER BY id')
    .all();
  expect(rows).toEqual(rows.toSorted((a, b) => a.scope - b.scope || a.hash - b.hash));
  expect(rows).toHaveLength(NAMES.length);
  // written numbers stay as they are
  const written = NAMES.map((name) => labels.numberFor(name, scopeOf(name)));
  const added = labels.numberFor('added', 8);
  const again = labels.arrange((visit) => [...written, added].forEach(visit));
  expect(written.map(again)).toEqual(written);
  expect(again(added)).toBe(labels.limit - 1);
  labels.reload();
  expect(NAMES.map((name) => labels.numberFor(name, scopeOf(name)))).toEqual(written);
});

test('drops new texts that no row refers to, and never gives their numbers to other texts', () => {
  const { client, labels } = openDictionary();
  const [first, second, third] = ['a', 'b', 'c'].map((name) => labels.numberFor(name, 1)) as [number, number, number];
  const { limit } = labels;
  labels.retire([second]);
  const renumbered = labels.arrange((visit) => visit(first));
  expect(labels.isWritten(renumbered(first))).toBe(false);
  runJob(labels.write());
  expect(labels.isWritten(renumbered(first))).toBe(true);
  const stored = client.query<{ id: number; label: string }, []>('SELECT id, label FROM labels').all();
  expect(stored).toEqual([{ id: renumbered(first), label: 'a' }]);
  expect([labels.find('b', 1), labels.find('c', 1)]).toEqual([undefined, undefined]);
  expect(labels.numberFor('c', 1)).toBe(limit);
  expect(third).toBeLessThan(limit);
  expect([...labels.textsOf(1)]).toEqual([
    { number: renumbered(first), text: 'a' },
    { number: limit, text: 'c' },
  ]);
});
