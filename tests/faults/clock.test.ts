import { afterAll, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/** A library that gives a process another clock (Debian's package `libfaketime`). */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const noLibrary = !existsSync(LIBRARY);
if (noLibrary) console.warn('SKIPPED: tests with another clock: "apt-get install faketime" has what they need');

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const FAR = 253_402_300_000; // a token that is valid in any year

test.skipIf(noLibrary)(
  'no clock stops recording, and everything recorded is charted after the clock is right again',
  async () => {
    const dataDir = join(folder.path, 'data');
    const ids: string[] = [];
    for (const year of [2026, 2060, 2090, 2200, 1990, undefined]) {
      const clock = year === undefined ? {} : { LD_PRELOAD: LIBRARY, FAKETIME: `@${year}-06-01 00:00:00` };
      const target = await startTarget({ ...UNLIMITED, ...clock }, { dataDir });
      const authorization = `Bearer ${await token({ sub: 'ada', exp: FAR })}`;
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
