import { describe, expect, test } from 'bun:test';
import { expectError, send } from '../harness/client.ts';
import { setUpSeededServer } from '../harness/seeded-server.ts';

const server = setUpSeededServer();
const { get } = server;

describe('the offsets of a time zone', () => {
  const offsetsOf = async (tz: string) => (await get('anna', '/api/zone', { tz })).body;

  test('lists the initial offset and every change', async () => {
    const { tz, offsets } = await offsetsOf('Europe/Berlin');
    expect(tz).toBe('Europe/Berlin');
    expect(offsets[0]).toEqual({ from: null, offset_seconds: 3208 });
    expect(offsets.filter(({ from }: { from: string | null }) => from?.startsWith('2026'))).toEqual([
      { from: '2026-03-29T01:00:00Z', offset_seconds: 7200 },
      { from: '2026-10-25T01:00:00Z', offset_seconds: 3600 },
    ]);
    expect((await get('anna', '/api/zone')).body).toEqual({ tz: 'UTC', offsets: [{ from: null, offset_seconds: 0 }] });
  });

  test('matches the offsets of buckets', async () => {
    for (const tz of ['Australia/Lord_Howe', 'America/Santiago', 'Pacific/Apia', 'Africa/Casablanca']) {
      const { offsets } = await offsetsOf(tz);
      const range = { from: '2011-01-01T00:00:00Z', to: '2012-06-01T00:00:00Z', interval: '12h', tz };
      const { starts } = (await get('anna', '/api/activity', range)).body;
      const bucketOffsets = (starts as string[]).map(
        (start) => (Date.parse(`${start.slice(0, 19)}Z`) - Date.parse(start)) / 1000,
      );
      const zoneOffsets = (starts as string[]).map(
        (start) =>
          offsets.findLast(
            ({ from }: { from: string | null }) => from === null || Date.parse(from) <= Date.parse(start),
          ).offset_seconds,
      );
      expect({ tz, zoneOffsets }).toEqual({ tz, zoneOffsets: bucketOffsets });
      expect(new Set(zoneOffsets).size).toBeGreaterThan(1);
    }
  });

  test('requires a token and the name of a zone', async () => {
    expectError(await send(`${server.target.url}/api/zone`), 401, 'unauthorized');
    expectError(await get('anna', '/api/zone', { tz: '+02:00' }), 422, 'validation_failed');
    expectError(await get('anna', '/api/zone', { tz: 'UTC', name: 'x' }), 422, 'validation_failed');
  });
});
