import type { Kind } from '../records.ts';
import type { RecordRow } from '../storage/records.ts';
import { recordJson } from './encode.ts';
import type { PartWriter } from './part-writer.ts';

/** Returns an upper bound for the size of a record as a line of JSON, in bytes. */
export function maxJsonBytes({ user_id, name, label, value, source }: RecordRow): number {
  const fields = user_id.length + name.length + label.length + (typeof value === 'string' ? value.length : 0);
  const texts = fields + (source ? source.id.length + 20 : 0);
  return 6 * texts + 300; // an escape sequence of a UTF-16 code unit has 6 bytes
}

/** Writes a record as `recordJson` returns it, and a line feed, into a part with room for {@link maxJsonBytes}. */
export function writeJson(parts: PartWriter, kind: Kind, row: RecordRow): void {
  if (row.source) {
    parts.text(`${recordJson(kind, row)}\n`);
    return;
  }
  parts.text('{"id":');
  writeString(parts, row.id);
  parts.text(',"user_id":');
  writeString(parts, row.user_id);
  parts.text(',"timestamp":"');
  parts.timestamp(row.happened_at);
  parts.text('","received_at":"');
  parts.timestamp(row.received_at);
  parts.text(kind === 'metric' ? '","metric_name":' : '","type":');
  writeString(parts, row.name);
  if (kind === 'metric') {
    parts.text(',"metric_value":');
    parts.number(row.value as number); // the value of a metric
    parts.text(',"data_string":');
    writeString(parts, row.label);
  } else {
    parts.text(',"data_index":');
    writeString(parts, row.label);
    parts.text(',"data":');
    parts.text(row.value as string); // the data of an event is JSON text
  }
  parts.text('}\n');
}

/** Writes a text as a JSON string. */
function writeString(parts: PartWriter, text: string): void {
  const { bytes } = parts;
  let at = parts.used;
  bytes[at++] = 0x22;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) {
      parts.text(JSON.stringify(text));
      return;
    }
    bytes[at++] = code;
  }
  bytes[at++] = 0x22;
  parts.used = at;
}
