import { afterAll, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openBoardLinkStore } from '../../src/storage/board-link-store.ts';
import { openStorage } from '../../src/storage/database.ts';
import { temporaryFolder } from '../harness/target.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());

test('links of users leave room for those of admins and viewers', () => {
  const storage = openStorage(join(folder.path, 'links.db'));
  const links = openBoardLinkStore(storage.client);
  const linkOf = (isForAll: boolean, i: number) => ({
    ...{ linkId: `${isForAll} ${i}`, boardId: `board ${i}`, creator: `${isForAll} ${i % 4}`, isForAll },
    ...{ createdAt: 0, expiresAt: 1 },
  });
  const insert = storage.client.transaction((isForAll: boolean, from: number, to: number) => {
    for (let i = from; i < to; i++) links.insert(linkOf(isForAll, i), randomBytes(32));
  });
  const full = (isForAll: boolean) => links.fullFor(linkOf(isForAll, 10_000));
  insert(false, 0, 8_999);
  expect(full(false)).toBeUndefined();
  insert(false, 8_999, 9_000);
  expect(full(false)).toBe('ofUsers');
  insert(true, 0, 999);
  expect(full(true)).toBeUndefined();
  insert(true, 999, 1_000);
  expect(full(true)).toBe('total');
  storage.close();
});
