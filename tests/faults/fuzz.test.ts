import { expect, test } from 'bun:test';
import { fuzz } from './fuzz.ts';

test('survives 3,000 random requests without a 5xx, a malformed error, an unbalanced ledger or a damaged database', async () => {
  const { byStatus, problems } = await fuzz(3_000, 20_260_301);
  expect(problems).toEqual([]);
  // the requests reach all parts of the server, not only its first checks
  for (const status of ['200', '400', '401', '403', '404', '405', '413', '415', '422']) {
    expect(byStatus[status] ?? 0).toBeGreaterThan(0);
  }
}, 300_000);
