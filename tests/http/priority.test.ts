import { expect, test } from 'bun:test';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/** Takes the privilege of raising priorities from root; other users do not have it. */
const WITHOUT_PRIVILEGES = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--'] : [];

test('queries run on a server that was started with a low priority and may not raise it', async () => {
  const target = await startTarget(UNLIMITED, { prefix: [...WITHOUT_PRIVILEGES, 'nice', '-n', '19'] });
  try {
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    const response = await send(`${target.url}/api/metrics`, { headers: { authorization: `Bearer ${await token()}` } });
    expect(response.status).toBe(200);
    expect(target.logLines().filter(({ level }) => level === 'error')).toEqual([]);
  } finally {
    await target.stop();
  }
});
