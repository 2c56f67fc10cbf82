import type { Database } from 'bun:sqlite';
import { countGarbage } from '../garbage.ts';

/** Bytes of data after which a read ends, so that the next check of the caller's limits is never far. */
const MAX_READ_BYTES = 4 * 1024 * 1024;
/**
 * Rows in a range of keys, per requested row, up to which the range is scanned. Beyond that, each row is looked up, which
 * takes 3 µs instead of 0.2 µs per row in the range (1 M events, default page cache).
 */
const MAX_SCANNED_PER_ROW = 8;

/** The garbage collector runs less often than during exports, because parsed data is dropped at once. */
const GARBAGE_FACTOR = 0.25;

/** Creates the function that reads the data of events by their keys. */
export function createEventDataReader(client: Database): EventDataReader {
  const count = client.prepare<{ n: number }, [number, number, number]>(
    'SELECT count(*) AS n FROM (SELECT 1 FROM analytics WHERE seq BETWEEN ? AND ? LIMIT ?)',
  );
  const scan = client.prepare<{ seq: number; data: string }, [number, number, string]>(
    'SELECT seq, data FROM analytics WHERE seq BETWEEN ? AND ? AND type = ? ORDER BY seq',
  );
  // CROSS JOIN keeps the order of the keys, and looks each one up
  const lookUp = client.prepare<{ seq: number; data: string }, [string]>(
    'SELECT seq, data FROM json_each(?) AS keys CROSS JOIN analytics ON seq = keys.value',
  );
  return (type, seqs, visit) => {
    const [first, last] = [seqs[0], seqs[seqs.length - 1]];
    if (first === undefined || last === undefined) return 0;
    const most = MAX_SCANNED_PER_ROW * seqs.length;
    const isDense = (count.get(first, last, most + 1)?.n ?? 0) <= most;
    const rows = isDense ? scan.iterate(first, last, type) : lookUp.iterate(JSON.stringify(Array.from(seqs)));
    let index = 0;
    let bytes = 0;
    let isComplete = true;
    for (const { seq, data } of rows) {
      bytes += data.length;
      while (index < seqs.length && (seqs[index] as number) < seq) index++;
      // other rows of the same type are between the requested ones; a blank row has no data
      if (seqs[index] === seq) {
        if (data !== '') visit(index, data);
        index++;
      }
      if (bytes >= MAX_READ_BYTES && index > 0) {
        isComplete = false;
        break;
      }
    }
    countGarbage(bytes * GARBAGE_FACTOR);
    return isComplete ? seqs.length : index;
  };
}

/**
 * Reads the data of events.
 *
 * @param type the type of all requested events
 * @param seqs the keys of the events, ascending
 * @param visit called with the index of a key and the event's data as JSON text; not called for rows that were erased or deleted
 * @returns how many of the events were read: all, unless their data is larger than a few megabytes
 */
export type EventDataReader = (
  type: string,
  seqs: Float64Array,
  visit: (index: number, data: string) => void,
) => number;
