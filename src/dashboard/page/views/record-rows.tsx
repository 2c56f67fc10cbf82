import { useCallback, useMemo, useState } from 'preact/hooks';
import type { RecordKind } from '../address.ts';
import type { LogRecord } from '../api.ts';
import type { Zone } from '../calendar.ts';
import { EMPTY, formatStored } from '../format.ts';
import { RecordDetails } from './record-details.tsx';

/** Maximum length of an event's data in its row, in characters. Opening the row shows all of it. */
const MAX_TEXT = 300;

interface RecordRowsProps {
  readonly kind: RecordKind;
  readonly records: readonly LogRecord[];
  readonly zone: Zone;
}

/** Stored rows as a table, or on a phone as a list. Each can be opened. */
export function RecordRows({ kind, records, zone }: RecordRowsProps) {
  const [opened, setOpened] = useState<string>();
  const toggle = useCallback((id: string) => setOpened((current) => (current === id ? undefined : id)), []);
  const isMetric = kind === 'metrics';
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
    <section class="scroll" tabIndex={0} aria-label="Rows, newest first">
      <table class="records">
        <thead>
          <tr>
            <th scope="col">
              <span class="visually-hidden">Details</span>
            </th>
            <th scope="col">Time ({zone.name})</th>
            <th scope="col">User</th>
            <th scope="col">{isMetric ? 'Metric' : 'Type'}</th>
            <th scope="col" class={isMetric ? 'number' : undefined}>
              {isMetric ? 'Value' : 'Label'}
            </th>
            <th scope="col">{isMetric ? 'Label' : 'Data'}</th>
          </tr>
        </thead>
        <tbody>
          {records.map((record) => (
            <Row
              key={record.id}
              isMetric={isMetric}
              record={record}
              zone={zone}
              isOpen={opened === record.id}
              onToggle={toggle}
            />
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface RowProps {
  readonly isMetric: boolean;
  readonly record: LogRecord;
  readonly zone: Zone;
  readonly isOpen: boolean;
  readonly onToggle: (id: string) => void;
}

/** A row and, when open, its details. Memoized, because a live tail renders the table often. */
function Row({ isMetric, record, zone, isOpen, onToggle }: RowProps) {
  return useMemo(
    () => (
      <>
        <tr data-id={record.id}>
          <td>
            <button
              type="button"
              class="record-toggle"
              aria-expanded={isOpen}
              aria-label={`Details of row ${record.id}`}
              onClick={() => onToggle(record.id)}
            >
              {isOpen ? '▾' : '▸'}
            </button>
          </td>
          <td class="time">{formatStored(record.timestamp, zone)}</td>
          <td class="name">{record.user_id}</td>
          <td class="name">{isMetric ? record.metric_name : <Text of={record.type} />}</td>
          <td class={isMetric ? 'number' : 'name'}>
            {isMetric ? (
              <data value={String(record.metric_value)}>{JSON.stringify(record.metric_value)}</data>
            ) : (
              <Text of={record.data_index} />
            )}
          </td>
          <td class="name">{isMetric ? <Text of={record.data_string} /> : truncate(JSON.stringify(record.data))}</td>
        </tr>
        {isOpen && (
          <tr class="opened">
            <td colSpan={6}>
              <RecordDetails record={record} />
            </td>
          </tr>
        )}
      </>
    ),
    [isMetric, record, zone, isOpen, onToggle],
  );
}

/** A text, with a placeholder for the empty string. */
function Text({ of = '' }: { of: string | undefined }) {
  return of === '' ? <i class="quiet">{EMPTY}</i> : of;
}

/** Truncates a text that is too long for a row, with an ellipsis. */
function truncate(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
