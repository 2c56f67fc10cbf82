import { useCallback, useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { RecordKind } from '../address.ts';
import { AskingContext, useAnswer } from '../answer.ts';
import { ask, type Failed, failedOf, type LogRecord, type Query } from '../api.ts';
import { useZone, type Zone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { LabelFilter, TextFilter } from '../controls.tsx';
import { Download } from '../download.tsx';
import { EMPTY, formatCount, formatStored } from '../format.ts';
import { usePlace } from '../place.ts';
import { namedRange } from '../shown-range.ts';
import { Answered, Failure, Nothing } from '../states.tsx';
import { type Tail, useTail } from '../tail.ts';

/** How much of an event's data stands in its row, in characters: the whole is a click away. */
const MAX_TEXT = 300;

/** Records of a page. */
const PAGE = 100;

/** What the reading routes call the name and the label of a record. */
const FIELDS = {
  metrics: { name: 'name', label: 'data_string', title: 'Metric' },
  analytics: { name: 'type', label: 'data_index', title: 'Type' },
} as const;

/** The rows themselves. */
export function Records() {
  const { address, go } = usePlace();
  const catalog = useCatalog();
  const { kind, live, user } = address;
  const fields = FIELDS[kind];
  const { names } = kind === 'metrics' ? catalog.metrics : catalog.types;

  const filter: Query = { [fields.name]: address.name, [fields.label]: address.label, user_id: user };
  const { now } = useContext(AskingContext);
  const zone = useZone();
  const moving = namedRange(address, now, catalog.extent, zone);
  const subject = JSON.stringify([kind, filter, live, address.range, address.from, address.to]);
  const older = useOlder(kind, subject);
  // pages that are shown together must be of the same range, and a live tail brings by itself what is new
  const isHeld = live || older.isLoading || older.records.length > 0;
  const held = useRef({ subject, range: moving });
  if (!isHeld || held.current.subject !== subject) held.current = { subject, range: moving };
  const { from, to } = held.current.range;
  // a row without a time of its own happened when it came: after the moment at which the range ends
  const range = live ? { from } : { from, to };
  const query = { ...filter, ...range };

  const first = useAnswer(`/api/records/${kind}`, { ...query, limit: PAGE }, subject, isHeld);
  const beginAnew = () => {
    older.clear();
    first.retry();
  };
  const tail = useTail(live ? `/api/records/${kind}/tail` : undefined, filter, beginAnew);
  // beyond what is kept of the tail there are rows that neither it nor the first page has
  const hasHole = tail.count > tail.records.length;
  const cursor = hasHole ? undefined : older.cursor === undefined ? first.value?.next_cursor : older.cursor;

  const records = useMemo(
    () => newestFirst([...tail.records, ...(hasHole ? [] : [...(first.value?.records ?? []), ...older.records])]),
    [tail.records, hasHole, first.value, older.records],
  );
  return (
    <section class="panel" aria-labelledby="records">
      <div class="head">
        <h2 id="records">Records</h2>
        <label>
          Kind{' '}
          <select
            value={kind}
            onChange={(event) =>
              go({
                kind: event.currentTarget.value === 'analytics' ? 'analytics' : 'metrics',
                name: undefined,
                label: undefined,
              })
            }
          >
            <option value="metrics">Metrics</option>
            <option value="analytics">Events</option>
          </select>
        </label>
        <TextFilter
          key={kind}
          label={fields.title}
          value={address.name}
          placeholder="all"
          choices={names}
          canBeEmpty={kind === 'analytics'}
          onChosen={(name) => go({ name })}
        />
        <LabelFilter label={fields.label} />
        <label class="check">
          <input type="checkbox" checked={live} onChange={() => go({ live: !live })} /> Live
        </label>
        <Download path={`/api/export/${kind}`} query={{ ...query, format: 'csv', formulas: 'escape' }} name={kind} />
      </div>
      {live && <TailState tail={tail} />}
      <Answered answer={first}>
        {() =>
          records.length === 0 ? (
            <Nothing>No row in this range passes these filters.</Nothing>
          ) : (
            <>
              <Rows kind={kind} records={records} zone={zone} />
              {older.failure && <Failure failure={older.failure} retry={() => cursor && older.load(cursor, query)} />}
              {cursor && (
                <button type="button" disabled={older.isLoading} onClick={() => older.load(cursor, query)}>
                  {older.isLoading ? 'Reading…' : 'Older rows'}
                </button>
              )}{' '}
              {older.records.length > 0 && !live && (
                <button type="button" onClick={beginAnew}>
                  The newest rows
                </button>
              )}
              {hasHole && (
                <p class="quiet">The newest {formatCount(records.length)} rows. For the others, switch Live off.</p>
              )}
            </>
          )
        }
      </Answered>
    </section>
  );
}

/** Each record once: the one with the greatest id first, which was stored last. */
function newestFirst(records: readonly LogRecord[]): LogRecord[] {
  const byId = new Map(records.map((record) => [record.id, record]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** Whether new rows arrive, said so that it is also heard. */
function TailState({ tail }: { tail: Tail }) {
  const { state, count, skipped, failure } = tail;
  const why = failure ? ` ${failure.message}` : '';
  const said =
    state === 'open'
      ? `Live: ${formatCount(count)} new ${count === 1 ? 'row' : 'rows'}.`
      : `${state === 'connecting' ? 'Connecting…' : 'Not live.'}${why}`;
  return (
    <p class={`live ${state}`} role="status">
      <span class="lamp" aria-hidden="true" />
      {said}
      {skipped > 0 && ` ${formatCount(skipped)} came too fast to be shown here; they are recorded all the same.`}
    </p>
  );
}

/** Pages behind the first one. They are forgotten when another subject is asked for. */
function useOlder(kind: RecordKind, subject: string) {
  const { token, onUnauthorized } = useContext(AskingContext);
  const none = { subject, records: [] as readonly LogRecord[], cursor: undefined as string | null | undefined };
  const [known, setKnown] = useState(none);
  const [failure, setFailure] = useState<Failed>();
  const [isLoading, setLoading] = useState(false);
  const abort = useRef<AbortController | undefined>(undefined);

  // biome-ignore lint/correctness/useExhaustiveDependencies: what was asked of another subject is of no use
  useEffect(() => {
    setFailure(undefined);
    setLoading(false);
    return () => abort.current?.abort();
  }, [subject]);

  const load = async (cursor: string, query: Query) => {
    const asked = new AbortController();
    abort.current = asked;
    setLoading(true);
    try {
      const page = await ask(`/api/records/${kind}`, { ...query, limit: PAGE, cursor }, token, asked.signal);
      setKnown((before) => ({
        subject,
        records: [...(before.subject === subject ? before.records : []), ...page.records],
        cursor: page.next_cursor,
      }));
      setFailure(undefined);
    } catch (error) {
      if (asked.signal.aborted) return;
      const failed = failedOf(error);
      if (failed.status === 401) onUnauthorized(failed.message);
      setFailure(failed);
    }
    setLoading(false);
  };
  const clear = () => {
    abort.current?.abort();
    setKnown(none);
    setFailure(undefined);
    setLoading(false);
  };
  const { records, cursor } = known.subject === subject ? known : none;
  return { records, cursor, failure, isLoading, clear, load: (at: string, query: Query) => void load(at, query) };
}

interface RowsProps {
  readonly kind: RecordKind;
  readonly records: readonly LogRecord[];
  readonly zone: Zone;
}

function Rows({ kind, records, zone }: RowsProps) {
  const [opened, setOpened] = useState<string>();
  const toggle = useCallback((id: string) => setOpened((before) => (before === id ? undefined : id)), []);
  const isMetric = kind === 'metrics';
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroll" tabIndex={0} aria-label="Rows, the newest first">
      <table class="records">
        <thead>
          <tr>
            <th scope="col">
              <span class="unseen">The whole row</span>
            </th>
            <th scope="col">Happened ({zone.name})</th>
            <th scope="col">User</th>
            <th scope="col">{FIELDS[kind].title}</th>
            <th scope="col" class={isMetric ? 'number' : undefined}>
              {isMetric ? 'Value' : 'data_index'}
            </th>
            <th scope="col">{isMetric ? 'data_string' : 'Data'}</th>
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

/** A row, and below it its JSON when it is open. It is drawn once, however many come after it. */
function Row({ isMetric, record, zone, isOpen, onToggle }: RowProps) {
  return useMemo(
    () => (
      <>
        <tr data-id={record.id}>
          <td>
            <button
              type="button"
              aria-expanded={isOpen}
              aria-label={`JSON of the row ${record.id}`}
              onClick={() => onToggle(record.id)}
            >
              JSON
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
          <td class="name">{isMetric ? <Text of={record.data_string} /> : cut(JSON.stringify(record.data))}</td>
        </tr>
        {isOpen && (
          <tr class="opened">
            <td colSpan={6}>
              <pre>
                <code>{JSON.stringify(record, null, 2)}</code>
              </pre>
            </td>
          </tr>
        )}
      </>
    ),
    [isMetric, record, zone, isOpen, onToggle],
  );
}

/** A text that may be empty. */
function Text({ of = '' }: { of: string | undefined }) {
  return of === '' ? <i class="quiet">{EMPTY}</i> : of;
}

/** Cuts a text that is too long for a row, and shows that it was cut. */
function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
