import { expect, test } from 'bun:test';
import { fuzz } from './fuzz.ts';

test('3,000 random requests: no 5xx, errors in one form, a ledger that balances, a database that verifies', async () => {
  const { byStatus, problems } = await fuzz(3_000, 20_260_301);
  expect(problems).toEqual([]);
  // requests come to something: they are not all rejected at the door
  for (const status of ['200', '400', '401', '403', '404', '405', '413', '415', '422']) {
    expect(byStatus[status] ?? 0).toBeGreaterThan(0);
  }
}, 300_000);
