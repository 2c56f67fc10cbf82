import { expect, test } from 'bun:test';
import { MAX_MEMTABLE_ROWS } from '../../src/storage/columns/memtable.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { filledDatabases, storeRows } from '../storage/filled.ts';
import { event, FIRST_SEQ, metric } from '../storage/log.ts';

const openFilled = filledDatabases();

test('applies each row once if a seal is interrupted, and the next one ends before the rows of the first', async () => {
  const { storage, reader, path } = await openFilled([]);
  let next = 0;
  const newEvent = () => event(FIRST_SEQ + next, { type: `event ${next++ % 7}` });
  const newMetric = () => metric(FIRST_SEQ + next, { metricName: `metric ${next++ % 40}` });
  // three of four rows are metrics, and are applied as they are recorded
  while (next < MAX_MEMTABLE_ROWS) {
    await storeRows(
      storage,
      Array.from({ length: 2_000 }, () => (next % 4 === 3 ? newEvent() : newMetric())),
    );
    for (let step = 0; step < 3; step++) reader.store.step();
  }
  const sealedSeries = () =>
    reader.client.query<{ n: number }, []>('SELECT count(*) AS n FROM sealed_series').get()?.n ?? 0;
  while (sealedSeries() === 0) reader.store.step();
  reader.close();
  // so that the memtable is full of events before all metrics are applied again
  await storeRows(storage, Array.from({ length: 60_000 }, newEvent));
  const again = openReader(path);
  runJob(again.store.catchUp());
  runJob(again.store.seal());
  expect(verifyDatabase(again.client).problems).toEqual([]);
  again.close();
  storage.close();
});
