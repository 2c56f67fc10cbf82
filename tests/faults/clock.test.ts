import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { clockAt, isFaketimeMissing } from '../harness/clock.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const FAR_FUTURE = 253_402_300_000; // keeps the token valid in every year below

test.skipIf(isFaketimeMissing)(
  'records under any clock, and charts all records once the clock is right again',
  async () => {
    const dataDir = join(folder.path, 'data');
    const ids: string[] = [];
    for (const year of [2026, 2060, 2090, 2200, 1990, undefined]) {
      const clock = year === undefined ? {} : clockAt(`${year}-06-01 00:00:00`);
      const target = await startTarget({ ...UNLIMITED, ...clock }, { dataDir });
      const authorization = `Bearer ${await token({ sub: 'ada', exp: FAR_FUTURE })}`;
      for (let i = 0; i < 3; i++) {
        const { status, body } = await post(target, '/log_raw_metric', METRIC, { authorization });
        expect([year, status]).toEqual([year, 200]);
        ids.push(body);
      }
      const { body } = await send(`${target.url}/api/metrics`, { headers: { authorization } });
      expect([year, body.metrics[0].count]).toEqual([year, ids.length]);
      expect(await target.stop()).toBe(0);
    }
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
  },
);
