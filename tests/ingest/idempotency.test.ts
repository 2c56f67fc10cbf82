import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { createIdempotency, expireResponses } from '../../src/ingest/idempotency.ts';
import { openStorage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';

const HOUR = 3600_000;

test('cached responses are kept for 24 hours, and then all expired ones are deleted', async () => {
  using folder = temporaryFolder();
  const storage = openStorage(join(folder.path, 'rawlog.db'));
  const writer = createWriter(storage);
  let clock = Date.UTC(2026, 0, 1);
  const idempotency = createIdempotency(writer, () => clock);
  const scope = (key: string) => ({ userId: 'u', route: '/r', key });
  const once = (key: string, response: string) =>
    idempotency.once(scope(key), 'same payload', async (cache) => {
      await writer.commit({ ...NOTHING, responses: [cache(response, 1)] });
      return response;
    });

  const old = Array.from({ length: 2_500 }, (_, i) => ({
    ...scope(`old-${i}`),
    fingerprint: 'f',
    response: 'a',
    seq: 1,
    createdAt: clock - 1,
  }));
  await writer.commit({ ...NOTHING, responses: old });
  expect(await once('key', 'first')).toEqual({ response: 'first', replayed: false });

  clock += 24 * HOUR;
  await expireResponses(
    writer,
    () => clock,
    () => true,
  );
  expect(old.filter((response) => writer.responseOf(response) !== undefined)).toEqual([]);
  expect(await once('key', 'second')).toEqual({ response: 'first', replayed: true });

  clock += 1;
  await expireResponses(
    writer,
    () => clock,
    () => false,
  ); // the server is stopping
  expect(await once('key', 'second')).toEqual({ response: 'first', replayed: true });
  await expireResponses(
    writer,
    () => clock,
    () => true,
  );
  expect(await once('key', 'second')).toEqual({ response: 'second', replayed: false });
  storage.close();
});
