import type { LogRecord } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';

/*
 * Rows in the format RowBinary. It stores exactly what the log has: ClickHouse 18.16 parses decimal numbers up to one unit
 * in the last place off (5 of 20,000 numbers with two decimals).
 */

/** Longest length prefix of a text: 5 bytes of 7 bits. */
const MAX_PREFIX_BYTES = 5;
/** UTF-8 bytes per UTF-16 code unit. */
const MAX_UNIT_BYTES = 3;
/** Bytes of the numbers of a row. */
const NUMBER_BYTES = 32;
const INITIAL_BYTES = 64 * 1024;

/** The columns of the rows of {@link encodeRows}, in order. */
export const ENCODED_COLUMNS = {
  metric: ['seq', 'id', 'node', 'user_id', 'happened_at', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['seq', 'id', 'node', 'user_id', 'happened_at', 'received_at', 'type', 'data_index', 'data'],
} as const;

/** Encodes records of one kind. */
export function encodeRows(records: readonly LogRecord[], node: string): Uint8Array<ArrayBuffer> {
  let buffer = Buffer.alloc(INITIAL_BYTES);
  let at = 0;

  /** Makes room for some bytes. */
  function reserve(bytes: number): void {
    if (at + bytes <= buffer.length) return;
    const larger = Buffer.alloc(Math.max(2 * buffer.length, at + bytes));
    larger.set(buffer);
    buffer = larger;
  }

  /** Adds a text: the number of its bytes in LEB128, then its bytes in UTF-8. */
  function addText(text: string): void {
    reserve(MAX_PREFIX_BYTES + MAX_UNIT_BYTES * text.length);
    let rest = Buffer.byteLength(text);
    for (; rest >= 0x80; rest >>>= 7) buffer[at++] = (rest & 0x7f) | 0x80;
    buffer[at++] = rest;
    at += buffer.write(text, at);
  }

  /** Adds a signed integer of 64 bits. */
  function addInteger(value: number): void {
    at = buffer.writeUInt32LE(value >>> 0, at);
    at = buffer.writeInt32LE(Math.floor(value / 2 ** 32), at);
  }

  for (const record of records) {
    reserve(NUMBER_BYTES);
    addInteger(seqOfId(record.id)); // moved records have another key here
    addText(record.id);
    addText(node);
    addText(record.userId);
    reserve(NUMBER_BYTES);
    addInteger(record.happenedAt);
    addInteger(record.receivedAt);
    if (record.kind === 'metric') {
      addText(record.metricName);
      reserve(NUMBER_BYTES);
      at = buffer.writeDoubleLE(record.metricValue, at);
      addText(record.dataString);
    } else {
      addText(record.type);
      addText(record.dataIndex);
      addText(record.data);
    }
  }
  return new Uint8Array(buffer.buffer, buffer.byteOffset, at);
}
