import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { KINDS } from '../../src/records.ts';
import { seqsOf } from '../../src/storage/columns/chunk.ts';
import { MAX_MEMTABLE_ROWS } from '../../src/storage/columns/memtable.ts';
import { eraseUser, finishErasures } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
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

/** Returns what the column store serves of each row, by key. */
function servedRows({ store }: ReaderStorage): Map<number, unknown> {
  const served = new Map<number, unknown>();
  for (const kind of KINDS) {
    for (const series of store.seriesOf(kind)) {
      let last = 0;
      for (const chunk of store.chunks(series)) {
        for (const [i, seq] of seqsOf(chunk).entries()) {
          expect(seq).toBeGreaterThan(last);
          last = seq;
          served.set(seq, [chunk.users[i], series.name, store.labelText(chunk.labels[i] as number)]);
        }
      }
    }
  }
  return served;
}

/** Returns the rows of the row tables, by key. */
function storedRows({ client, store }: ReaderStorage): Map<number, unknown> {
  const rows = client
    .query<{ seq: number; user: string; name: string; label: string }, []>(
      `SELECT seq, user_id AS user, metric_name AS name, data_string AS label FROM metrics WHERE user_id <> ''
       UNION ALL SELECT seq, user_id, type, data_index FROM analytics WHERE user_id <> ''`,
    )
    .all();
  return new Map(rows.map(({ seq, user, name, label }) => [seq, [store.user(user), name, label]]));
}

/** Expects that the column store serves exactly the stored rows, as a whole and by user. */
function expectServed(reader: ReaderStorage, users: readonly string[]): void {
  const { client, store } = reader;
  runJob(store.catchUp());
  const stored = storedRows(reader);
  const served = servedRows(reader);
  expect(served.size).toBe(stored.size);
  const different = [...stored].filter(([seq, row]) => !Bun.deepEquals(served.get(seq), row));
  expect(different).toEqual([]);
  for (const userId of users) {
    const user = store.user(userId);
    for (const [kind, table] of [
      ['metric', 'metrics'],
      ['analytics', 'analytics'],
    ] as const) {
      const seqs = client.query<{ seq: number }, [string]>(`SELECT seq FROM ${table} WHERE user_id = ? ORDER BY seq`);
      const listed = user === undefined ? [] : [...(store.seqsOfUser(kind, user) ?? [])];
      expect(listed).toEqual(seqs.all(userId).map(({ seq }) => seq));
    }
  }
}

test('keeps each row with its user and label if seals and erasures are interrupted at any step', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          rows: fc.integer({ min: 1, max: 3_000 }),
          steps: fc.oneof(fc.nat(8), fc.nat(60)),
          erased: fc.option(fc.nat(299), { freq: 2 }),
          erasureSteps: fc.nat(300),
        }),
        { minLength: 1, maxLength: 4, size: 'max' },
      ),
      async (rounds) => {
        const { storage, reader: first, path } = await openFilled([]);
        let reader = first;
        let next = 0;
        const users = new Set<string>();
        const newRow = () => {
          const seq = FIRST_SEQ + next;
          // some users and labels are new in each round, and known ones come back
          const userId = `user ${(next * 7_919) % (300 + Math.floor(next / 2))}`;
          const label = `label ${(next * 104_729) % (50 + Math.floor(next / 4))}`;
          const name = `name ${(next * 31) % 1_200}`;
          users.add(userId);
          return next++ % 3 === 0
            ? event(seq, { userId, type: name, dataIndex: label })
            : metric(seq, { userId, metricName: name, dataString: label });
        };
        try {
          for (const { rows, steps, erased, erasureSteps } of rounds) {
            await storeRows(storage, Array.from({ length: rows }, newRow));
            runJob(reader.store.catchUp());
            const seal = reader.store.seal();
            for (let step = 0; step < steps && !seal.next().done; step++) {
              // the next step
            }
            expect(servedRows(reader)).toEqual(storedRows(reader));
            if (erased !== null) {
              const erasure = eraseUser(reader, `user ${erased}`);
              for (let step = 0; step < erasureSteps && !erasure.next().done; step++) reader.store.step();
            }
            reader.close();
            reader = openReader(path, Date.now, { scannedPerLookup: 0, maxUnsortedRows: 2_000 });
            runJob(finishErasures(reader));
            expectServed(reader, [...users].slice(0, 50));
          }
          runJob(reader.store.seal());
          expectServed(reader, [...users]);
          expect(verifyDatabase(reader.client).problems).toEqual([]);
        } finally {
          reader.close();
          storage.close();
        }
      },
    ),
    { numRuns: 10 },
  ));
