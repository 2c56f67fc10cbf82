import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { localBytes, paddingFor, rowBytes } from '../../src/storage/columns/local-part.ts';

test('knows how much of a row SQLite stores on its page', () => {
  using client = new Database(':memory:');
  client.run('CREATE TABLE t (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, a BLOB NOT NULL, b BLOB NOT NULL)');
  const insert = client.query('INSERT OR REPLACE INTO t VALUES (1, ?, ?, ?)');
  for (const number of [0, 1, 127, 128, -128, -129, 2 ** 15, 2 ** 31 - 1, 2 ** 31, 2 ** 47, 1.7e15]) {
    for (const bytes of [0, 20, 57, 58, 2_000, 4_040, 4_061, 4_580, 8_180, 20_000]) {
      insert.run(number, new Uint8Array(bytes), new Uint8Array(30));
      const found = client
        .query<{ bytes: number }, []>("SELECT sum(payload) AS bytes FROM dbstat WHERE name = 't'")
        .get();
      expect(rowBytes({ integers: [number], blobs: [bytes, 30] })).toBe(found?.bytes as number);
    }
  }
});

test('a padded row that becomes shorter has no longer part on its page, and is not longer than before', () => {
  let total = 0;
  let unfitting = 0;
  for (let stored = 0; stored < 20_000; stored += 97) {
    for (let bytes = stored % 13; bytes <= stored; bytes += 89) {
      const old = { integers: [2 ** 50, 9_000, 1.7e15], blobs: [stored, 500] };
      const row = { integers: [0, 900, 1.7e15], blobs: [bytes, 500] };
      const padding = paddingFor(row, old);
      total++;
      if (padding === undefined) {
        unfitting++;
        continue;
      }
      const padded = { integers: [2 ** 50, 900, 1.7e15], blobs: [bytes, 500 + padding] };
      expect(rowBytes(padded)).toBeLessThanOrEqual(rowBytes(old));
      expect(localBytes(rowBytes(padded))).toBeLessThanOrEqual(localBytes(rowBytes(old)));
    }
  }
  expect(unfitting).toBeLessThan(total / 100);
});
