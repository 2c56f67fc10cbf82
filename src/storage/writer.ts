import { sql } from 'drizzle-orm';
import type { LogRecord } from '../records.ts';
import type { Storage } from './database.ts';
import { StorageFault, storageFault } from './faults.ts';
import { analytics, metrics } from './schema.ts';

/** The only way in which records enter the database. All calls are synchronous. */
export interface Writer {
  /**
   * Stores the records in one transaction. When it returns they are on the disk, fsynced. With no
   * records it writes all the same, to find out whether a commit succeeds.
   *
   * @throws {StorageFault} and then none of them is stored; save that after the kind `failing` it
   *   cannot be known
   */
  commit(records: readonly LogRecord[]): void;
  /** The highest `seq` stored so far; 0 in an empty database. */
  lastSeq(): number;
}

/** Makes the writer of a database. There must be one for each database file. */
export function createWriter({ orm, client, isInPlace }: Storage): Writer {
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
  const begin = client.prepare('BEGIN IMMEDIATE');
  const commit = client.prepare('COMMIT');
  const rollback = client.prepare('ROLLBACK');
  const touch = client.prepare('PRAGMA user_version = 0');

  /** Runs the work in a transaction of its own, which ends with it, whatever happens. */
  function transact(work: () => void): void {
    try {
      begin.run();
      work();
      commit.run();
      // what is committed to a file that no name leads to any more is lost with the process
      if (!isInPlace()) throw new StorageFault('failing', new Error('the database file was removed or replaced'));
    } catch (error) {
      const fault = storageFault(error);
      try {
        // after some errors SQLite has rolled back by itself
        if (client.inTransaction) rollback.run();
      } catch (rollbackError) {
        throw new StorageFault('failing', rollbackError);
      }
      throw fault;
    }
  }

  return {
    commit(records) {
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
      });
    },
    lastSeq() {
      const [row] = orm.all<{ last: number }>(
        sql`SELECT max(coalesce((SELECT max(seq) FROM metrics), 0), coalesce((SELECT max(seq) FROM analytics), 0)) AS last`,
      );
      return row?.last ?? 0;
    },
  };
}
