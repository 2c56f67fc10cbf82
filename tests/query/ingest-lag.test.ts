import { expect, test } from 'bun:test';
import { createLagTracker } from '../../src/query/ingest-lag.ts';

test('the ingest lag grows between measurements, with the rows committed and the time', () => {
  let now = 50_000;
  const lag = createLagTracker(() => now);
  expect(lag.current()).toEqual({ rows: 0, seconds: 0 });
  lag.committed(3);
  now += 2_000;
  lag.committed(4);
  expect(lag.current()).toEqual({ rows: 7, seconds: 2 });
  lag.measured({ rows: 5, seconds: 1.5 });
  lag.committed(1);
  now += 500;
  expect(lag.current()).toEqual({ rows: 6, seconds: 2 });
  lag.measured({ rows: 0, seconds: 0 });
  now += 9_000;
  expect(lag.current()).toEqual({ rows: 0, seconds: 0 });
  lag.committed(2);
  now += 1_000;
  expect(lag.current()).toEqual({ rows: 2, seconds: 1 });
});
