import { createIdSource, type RecordId } from '../ingest/ids.ts';
import type { LogRecord } from '../records.ts';
import type { Storage } from '../storage/database.ts';
import { runJob } from '../storage/job.ts';
import { STORED } from '../storage/ledger.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { createWriter } from '../storage/writer.ts';
import type { ShopRow } from './shop.ts';

/** Rows per transaction. Each one is fsynced. */
const GROUP_ROWS = 10_000;

/**
 * Stores rows in chronological order as if each had been received when it happened, and builds the column store. They are
 * durable when it resolves.
 */
export async function storeRows(
  { storage, reader }: { readonly storage: Storage; readonly reader: ReaderStorage },
  rows: readonly ShopRow[],
): Promise<void> {
  const writer = createWriter(storage);
  let clock = 0;
  const nextId = createIdSource(() => clock, writer.lastSeq());
  for (let from = 0; from < rows.length; from += GROUP_ROWS) {
    const records = rows.slice(from, from + GROUP_ROWS).map((row): LogRecord => {
      clock = Math.floor(row.at);
      return recordOf(row, nextId());
    });
    await writer.commit({ records, responses: [], names: [], counts: [[STORED, records.length]] });
  }
  const { store } = reader;
  store.reload();
  runJob(store.catchUp());
  runJob(store.seal());
}

function recordOf(row: ShopRow, id: RecordId): LogRecord {
  const time = Math.floor(row.at * 1000);
  const stamp = { ...id, userId: row.user, happenedAt: time, receivedAt: time };
  if ('metric' in row) {
    return { ...stamp, kind: 'metric', metricName: row.metric, metricValue: row.value, dataString: row.label };
  }
  return { ...stamp, kind: 'analytics', type: row.type, dataIndex: row.label, data: JSON.stringify(row.data) };
}
