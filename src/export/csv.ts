import { formatTimestamp } from '../formats/timestamp.ts';
import type { Kind } from '../records.ts';
import type { RecordRow } from '../storage/records.ts';
import { COLUMNS } from './encode.ts';
import type { PartWriter } from './part-writer.ts';

/*
 * CSV (RFC 4180): lines end in CRLF, times are RFC 3339, numbers have the shortest form that parses to the same double.
 *
 * This is not done by csv-stringify, which takes about 5 µs per row, more than all of an export may take. A test compares
 * the output with csv-stringify's.
 */

const COMMA = 0x2c;
const QUOTE = 0x22;
const CR = 0x0d;
const LF = 0x0a;

const NEEDS_QUOTES = /[",\r\n]/;
/**
 * The beginning of text that a spreadsheet could evaluate as a formula: an operator, also in its full-width form, or what
 * programs skip before one: white space, control characters and invisible ones. LibreOffice also treats a quote followed by a separator as the end of a field,
 * even if that quote opens the field, and would read the text after it as a new cell; hence quotes and separators.
 */
const IS_RISKY = /^(?:[=+\-@\t\r",;:|\n \uFF1D\uFF0B\uFF0D\uFF20]|[\s\p{Cc}\p{Cf}]+[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])/u;

/** Returns the header line. */
export function csvHeader(kind: Kind, safe: boolean): string {
  return `${COLUMNS[kind].map((name) => fieldText(name, safe)).join(',')}\r\n`;
}

/**
 * Returns a record as a line.
 *
 * @param safe whether to quote every field, and to prefix text that a spreadsheet would evaluate as a formula with an
 *   apostrophe. A spreadsheet that splits at semicolons or spaces would find formulas in the middle of unquoted text.
 */
export function csvLine(kind: Kind, row: RecordRow, safe: boolean): string {
  const [label, value] = [fieldText(row.label, safe), fieldText(row.value, safe)];
  const fields = [
    ...[row.id, row.user_id, formatTimestamp(row.happened_at), formatTimestamp(row.received_at), row.name].map((text) =>
      fieldText(text, safe),
    ),
    ...(kind === 'metric' ? [value, label] : [label, value]),
  ];
  return `${fields.join(',')}\r\n`;
}

/** Returns an upper bound for the size of a record as a line, in bytes. */
export function maxCsvBytes({ user_id, name, label, value }: RecordRow): number {
  const texts = user_id.length + name.length + label.length + (typeof value === 'string' ? value.length : 0);
  return 3 * texts + 200; // a UTF-16 code unit takes at most 3 bytes
}

/** Writes a record as {@link csvLine} returns it, into a part with room for {@link maxCsvBytes}. */
export function writeCsv(parts: PartWriter, kind: Kind, row: RecordRow, safe: boolean): void {
  writeField(parts, row.id, safe);
  writeByte(parts, COMMA);
  writeField(parts, row.user_id, safe);
  writeByte(parts, COMMA);
  writeTime(parts, row.happened_at, safe);
  writeByte(parts, COMMA);
  writeTime(parts, row.received_at, safe);
  writeByte(parts, COMMA);
  writeField(parts, row.name, safe);
  writeByte(parts, COMMA);
  writeField(parts, kind === 'metric' ? row.value : row.label, safe);
  writeByte(parts, COMMA);
  writeField(parts, kind === 'metric' ? row.label : row.value, safe);
  writeByte(parts, CR);
  writeByte(parts, LF);
}

function writeByte(parts: PartWriter, byte: number): void {
  parts.bytes[parts.used++] = byte;
}

function writeNumber(parts: PartWriter, value: number, safe: boolean): void {
  if (safe) writeByte(parts, QUOTE);
  parts.number(value);
  if (safe) writeByte(parts, QUOTE);
}

function writeTime(parts: PartWriter, microseconds: number, safe: boolean): void {
  if (safe) writeByte(parts, QUOTE);
  parts.timestamp(microseconds);
  if (safe) writeByte(parts, QUOTE);
}

function writeField(parts: PartWriter, value: string | number, safe: boolean): void {
  if (typeof value === 'number') writeNumber(parts, value, safe);
  else if (safe && IS_RISKY.test(value)) parts.text(fieldText(value, safe));
  else if (!(safe ? writeQuoted(parts, value) : writeUnquoted(parts, value) || writeQuoted(parts, value)))
    parts.text(fieldText(value, safe));
}

/** Writes a text unless it needs quotes or is not ASCII. Returns whether it did. */
function writeUnquoted(parts: PartWriter, text: string): boolean {
  const { bytes } = parts;
  let at = parts.used;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f || code === QUOTE || code === COMMA || code === CR || code === LF) return false;
    bytes[at++] = code;
  }
  parts.used = at;
  return true;
}

/** Writes a text in quotes unless it is not ASCII. Returns whether it did. */
function writeQuoted(parts: PartWriter, text: string): boolean {
  const { bytes } = parts;
  let at = parts.used;
  bytes[at++] = QUOTE;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return false;
    if (code === QUOTE) bytes[at++] = QUOTE;
    bytes[at++] = code;
  }
  bytes[at++] = QUOTE;
  parts.used = at;
  return true;
}

/** Returns a value as a field. */
function fieldText(value: string | number, safe: boolean): string {
  if (typeof value === 'number') return safe ? `"${value}"` : String(value);
  const text = safe && IS_RISKY.test(value) ? `'${value}` : value;
  return safe || NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
