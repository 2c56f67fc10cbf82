import { useState } from 'preact/hooks';
import { type Filter, withFilter } from '../address.ts';
import type { LogRecord } from '../api.ts';
import { EMPTY } from '../format.ts';
import { useNavigation } from '../navigation.ts';

/** Maximum number of properties that can be filtered by at a click. */
const MAX_PROPERTIES = 12;

/** A record as JSON, and what to filter by. */
export function RecordDetails({ record }: { record: LogRecord }) {
  const { address, go } = useNavigation();
  const [isCopied, setCopied] = useState(false);
  const json = JSON.stringify(record, null, 2);
  const copy = () =>
    navigator.clipboard.writeText(json).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  return (
    <>
      <pre>
        <code>{highlighted(json)}</code>
      </pre>
      <p class="record-actions">
        <button type="button" onClick={() => void copy()}>
          {isCopied ? 'Copied' : 'Copy JSON'}
        </button>
        {filtersOf(record).map(({ title, value, filter }) => (
          <button
            key={title}
            type="button"
            title={`Show only rows with this value`}
            onClick={() => go({ filters: withFilter(address.filters, filter) })}
          >
            {title} = {value === '' ? EMPTY : value}
          </button>
        ))}
      </p>
    </>
  );
}

interface Offer {
  readonly title: string;
  readonly value: string;
  readonly filter: Filter;
}

/** Returns the filters that a record offers: its label, and the texts, numbers and booleans of its data. */
function filtersOf(record: LogRecord): Offer[] {
  const label = record.data_index ?? record.data_string ?? '';
  const offers: Offer[] = [{ title: 'Label', value: label, filter: { field: 'label', operator: '=', value: label } }];
  for (const [key, value] of Object.entries(record.data ?? {})) {
    if (offers.length > MAX_PROPERTIES) break;
    if (!['string', 'number', 'boolean'].includes(typeof value)) continue;
    const field = `data.${key.replace(/[\\.]/g, '\\$&')}` as const;
    offers.push({ title: key, value: String(value), filter: { field, operator: '=', value: String(value) } });
  }
  return offers;
}

/** A name, a text, or a number, boolean or null of indented JSON. */
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;

/** Returns JSON with its names and values marked. Its text stays the same. */
function highlighted(json: string) {
  const parts = [];
  let end = 0;
  for (const match of json.matchAll(TOKEN)) {
    const [text, quoted, colon] = match;
    parts.push(json.slice(end, match.index));
    const kind = colon !== undefined ? 'json-name' : quoted !== undefined ? 'json-text' : 'json-value';
    parts.push(
      <span class={kind} key={match.index}>
        {quoted ?? text}
      </span>,
      colon ?? '',
    );
    end = match.index + text.length;
  }
  return [...parts, json.slice(end)];
}
