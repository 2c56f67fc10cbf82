import { and, eq, sql } from 'drizzle-orm';
import type { LogRecord } from '../records.ts';
import type { Storage } from './database.ts';
import { StorageFault, storageFault } from './faults.ts';
import { analytics, answers, ledger, metrics } from './schema.ts';

/** A count of the ledger: its name, and how many items it has, or is to have more. */
export type Count = readonly [name: string, items: number];

/** An answer that is remembered under a client's Idempotency-Key. */
export interface RememberedAnswer {
  readonly userId: string;
  readonly route: string;
  readonly key: string;
  /** Tells payloads apart. */
  readonly fingerprint: string;
  readonly answer: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** The only way in which records enter the database. */
export interface Writer {
  /**
   * Stores the records in one transaction, and with them the answers to remember and what the ledger
   * counts. Resolves once they are on the disk, fsynced; the transaction itself is over when the call
   * returns. With no records it writes all the same, to find out whether a commit succeeds.
   *
   * @throws {StorageFault} and then none of them is stored; save that after the kind `failing` it
   *   cannot be known
   */
  commit(
    records: readonly LogRecord[],
    remembered: readonly RememberedAnswer[],
    counts: readonly Count[],
  ): Promise<void>;
  /** The counts of the ledger. */
  counts(): Count[];
  /** The answer that is remembered under a key, if any. */
  answerOf(key: Pick<RememberedAnswer, 'userId' | 'route' | 'key'>): RememberedAnswer | undefined;
  /**
   * Forgets answers from before a time, in milliseconds since 1970, at most so many.
   *
   * @returns how many it were
   * @throws {StorageFault}
   */
  forgetAnswers(before: number, limit: number): number;
  /** The highest `seq` stored so far; 0 in an empty database. */
  lastSeq(): number;
}

/**
 * Makes the writer of a database. There must be one for each database file.
 *
 * @param onCommit told of each commit: its rows, its time until it was on the disk, and the part of the fsync
 */
export function createWriter(
  { orm, client, sync }: Storage,
  onCommit: (rows: number, seconds: number, syncSeconds: number) => void = () => {},
): Writer {
  const stamps = {
    seq: sql.placeholder('seq'),
    id: sql.placeholder('id'),
    userId: sql.placeholder('userId'),
    happenedAt: sql.placeholder('happenedAt'),
    receivedAt: sql.placeholder('receivedAt'),
  };
  // drizzle writes the statements, the driver runs them: these two are run for every record, and
  // drizzle's prepared form takes twice the time of the driver's (it looks up each placeholder by name)
  const insertMetric = client.prepare(
    orm
      .insert(metrics)
      .values({
        ...stamps,
        metricName: sql.placeholder('metricName'),
        metricValue: sql.placeholder('metricValue'),
        dataString: sql.placeholder('dataString'),
      })
      .toSQL().sql,
  );
  const insertAnalytics = client.prepare(
    orm
      .insert(analytics)
      .values({
        ...stamps,
        type: sql.placeholder('type'),
        dataIndex: sql.placeholder('dataIndex'),
        data: sql.placeholder('data'),
      })
      .toSQL().sql,
  );
  const insertAnswer = orm
    .insert(answers)
    .values({
      userId: sql.placeholder('userId'),
      route: sql.placeholder('route'),
      key: sql.placeholder('key'),
      fingerprint: sql.placeholder('fingerprint'),
      answer: sql.placeholder('answer'),
      createdAt: sql.placeholder('createdAt'),
    })
    .prepare();
  const findAnswer = orm
    .select()
    .from(answers)
    .where(
      and(
        eq(answers.userId, sql.placeholder('userId')),
        eq(answers.route, sql.placeholder('route')),
        eq(answers.key, sql.placeholder('key')),
      ),
    )
    .prepare();
  const deleteAnswers = client.prepare(
    `DELETE FROM answers WHERE (user_id, route, key) IN
       (SELECT user_id, route, key FROM answers WHERE created_at < ? ORDER BY created_at LIMIT ?)`,
  );
  const addCount = client.prepare(
    'INSERT INTO ledger (name, items) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET items = items + excluded.items',
  );
  const begin = client.prepare('BEGIN IMMEDIATE');
  const commit = client.prepare('COMMIT');
  const rollback = client.prepare('ROLLBACK');
  const touch = client.prepare('PRAGMA user_version = 0');

  /** What broke the storage. From then on every call fails with it: nobody knows what is on the disk. */
  let broken: StorageFault | undefined;

  function noteBroken(error: unknown): StorageFault {
    const fault = storageFault(error);
    if (fault.kind === 'failing') broken ??= fault;
    return fault;
  }

  /** Runs the work in a transaction of its own, which ends with it, whatever happens. */
  function transact(work: () => void): void {
    if (broken) throw broken;
    try {
      begin.run();
      work();
      commit.run();
    } catch (error) {
      try {
        // after some errors SQLite has rolled back by itself
        if (client.inTransaction) rollback.run();
      } catch (rollbackError) {
        throw noteBroken(new StorageFault('failing', rollbackError));
      }
      throw noteBroken(error);
    }
  }

  return {
    async commit(records, remembered, counts) {
      const began = performance.now();
      transact(() => {
        if (records.length === 0) touch.run();
        for (const record of records) {
          const { seq, id, userId, happenedAt, receivedAt } = record;
          // in the order of the columns
          if (record.kind === 'metric') {
            const { metricName, metricValue, dataString } = record;
            insertMetric.run(seq, id, userId, happenedAt, receivedAt, metricName, metricValue, dataString);
          } else {
            const { type, dataIndex, data } = record;
            insertAnalytics.run(seq, id, userId, happenedAt, receivedAt, type, dataIndex, data);
          }
        }
        for (const answer of remembered) insertAnswer.run({ ...answer });
        for (const [name, items] of counts) addCount.run(name, items);
      });
      const committed = performance.now();
      await sync().catch((error: unknown) => {
        throw noteBroken(error);
      });
      const synced = performance.now();
      onCommit(records.length, (synced - began) / 1000, (synced - committed) / 1000);
    },
    counts() {
      return orm
        .select()
        .from(ledger)
        .all()
        .map(({ name, items }) => [name, items] as const);
    },
    answerOf(key) {
      if (broken) throw broken;
      return findAnswer.get({ ...key });
    },
    forgetAnswers(before, limit) {
      let forgotten = 0;
      transact(() => {
        forgotten = deleteAnswers.run(before, limit).changes;
      });
      return forgotten;
    },
    lastSeq() {
      const [row] = orm.all<{ last: number }>(
        sql`SELECT max(coalesce((SELECT max(seq) FROM metrics), 0), coalesce((SELECT max(seq) FROM analytics), 0)) AS last`,
      );
      return row?.last ?? 0;
    },
  };
}
