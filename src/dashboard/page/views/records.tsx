import { useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { filterParameters, type RecordKind } from '../address.ts';
import { fetchJson, type LogRecord, type QueryParameters, type RequestError, toRequestError } from '../api.ts';
import { useZone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { TextFilter } from '../controls/pickers.tsx';
import { Download } from '../download.tsx';
import { formatCount } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { namedRange } from '../shown-range.ts';
import { EmptyMessage, ErrorMessage, QueryResult } from '../states.tsx';
import { type LiveTail, useLiveTail } from '../use-live-tail.ts';
import { QuerySessionContext, useQuery } from '../use-query.ts';
import { RecordRows } from './record-rows.tsx';

/** Number of records per page. */
const PAGE = 100;

/** Parameters of the query routes for name and label, and the title of the name. */
const FIELDS = {
  metrics: { name: 'name', label: 'data_string', title: 'Metric' },
  analytics: { name: 'type', label: 'data_index', title: 'Type' },
} as const;

/** The stored rows, newest first, optionally with a live tail. */
export function Records() {
  const { address, go } = useNavigation();
  const catalog = useCatalog();
  const { kind, live, user } = address;
  const fields = FIELDS[kind];
  const { names } = kind === 'metrics' ? catalog.metrics : catalog.types;

  const filter: QueryParameters = {
    [fields.name]: address.name,
    ...filterParameters(address.filters, fields.label),
    user_id: user,
  };
  const { now } = useContext(QuerySessionContext);
  const zone = useZone();
  const currentRange = namedRange(address, now, catalog.extent, zone);
  const subject = JSON.stringify([kind, filter, live, address.range, address.from, address.to]);
  const older = useOlderPages(kind, subject);
  // pages shown together must have the same range, and a live tail delivers new rows without a refresh
  const isPaused = live || older.isLoading || older.records.length > 0;
  const lastRange = useRef({ subject, range: currentRange });
  if (!isPaused || lastRange.current.subject !== subject) lastRange.current = { subject, range: currentRange };
  const { from, to } = lastRange.current.range;
  // rows sent without a timestamp get the time of their arrival, which is after the end of the range
  const range = live ? { from } : { from, to };
  const query = { ...filter, ...range };

  const first = useQuery(`/api/records/${kind}`, { ...query, limit: PAGE }, subject, isPaused);
  const reload = () => {
    older.clear();
    first.retry();
  };
  const tail = useLiveTail(live ? `/api/records/${kind}/tail` : undefined, filter, reload);
  // once the tail has evicted rows, there is a gap between it and the first page
  const hasGap = tail.count > tail.records.length;
  const cursor = hasGap ? undefined : older.cursor === undefined ? first.value?.next_cursor : older.cursor;

  const records = useMemo(
    () => newestFirst([...tail.records, ...(hasGap ? [] : [...(first.value?.records ?? []), ...older.records])]),
    [tail.records, hasGap, first.value, older.records],
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
                filters: [],
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
          placeholder="All"
          choices={names}
          canBeEmpty={kind === 'analytics'}
          onSelect={(name) => go({ name })}
        />
        <label class="check">
          <input type="checkbox" checked={live} onChange={() => go({ live: !live })} /> Live
        </label>
        <Download path={`/api/export/${kind}`} query={{ ...query, format: 'csv', formulas: 'escape' }} name={kind} />
      </div>
      {live && <LiveTailStatus tail={tail} />}
      <QueryResult query={first}>
        {() =>
          records.length === 0 ? (
            <EmptyMessage>
              No rows in this range match the filters. Try a longer range, or remove a filter.
            </EmptyMessage>
          ) : (
            <>
              <RecordRows kind={kind} records={records} zone={zone} />
              {older.error && <ErrorMessage error={older.error} retry={() => cursor && older.load(cursor, query)} />}
              {cursor && (
                <button type="button" disabled={older.isLoading} onClick={() => older.load(cursor, query)}>
                  {older.isLoading ? 'Loading…' : 'Older rows'}
                </button>
              )}{' '}
              {older.records.length > 0 && !live && (
                <button type="button" onClick={reload}>
                  Back to newest
                </button>
              )}
              {hasGap && (
                <p class="quiet">
                  Showing the newest {formatCount(records.length)} rows. Turn off Live to see older ones.
                </p>
              )}
            </>
          )
        }
      </QueryResult>
    </section>
  );
}

/** Removes duplicates and sorts by ID, descending: the latest stored record is first. */
function newestFirst(records: readonly LogRecord[]): LogRecord[] {
  const byId = new Map(records.map((record) => [record.id, record]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** The state of the live tail, announced by screen readers. */
function LiveTailStatus({ tail }: { tail: LiveTail }) {
  const { state, count, skipped, isOfNode, error } = tail;
  const reason = error ? ` ${error.message}.` : '';
  const text =
    state === 'open'
      ? `Live: ${formatCount(count)} new ${count === 1 ? 'row' : 'rows'}.`
      : `${state === 'connecting' ? 'Connecting…' : 'Disconnected.'}${reason}`;
  return (
    <p class={`live ${state}`} role="status">
      <span class="lamp" aria-hidden="true" />
      {text}
      {isOfNode && ' Only rows that this node records are live.'}
      {skipped > 0 && ` ${formatCount(skipped)} more arrived too fast to show, but were recorded.`}
    </p>
  );
}

/** Loads pages after the first one. A change of the subject clears them. */
function useOlderPages(kind: RecordKind, subject: string) {
  const { token, onUnauthorized } = useContext(QuerySessionContext);
  const none = { subject, records: [] as readonly LogRecord[], cursor: undefined as string | null | undefined };
  const [loaded, setLoaded] = useState(none);
  const [error, setError] = useState<RequestError>();
  const [isLoading, setLoading] = useState(false);
  const abort = useRef<AbortController | undefined>(undefined);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new subject cancels the pending request
  useEffect(() => {
    setError(undefined);
    setLoading(false);
    return () => abort.current?.abort();
  }, [subject]);

  const load = async (cursor: string, query: QueryParameters) => {
    const controller = new AbortController();
    abort.current = controller;
    setLoading(true);
    try {
      const parameters = { ...query, limit: PAGE, cursor };
      const page = await fetchJson(`/api/records/${kind}`, parameters, token, controller.signal);
      setLoaded((previous) => ({
        subject,
        records: [...(previous.subject === subject ? previous.records : []), ...page.records],
        cursor: page.next_cursor,
      }));
      setError(undefined);
    } catch (thrown) {
      if (controller.signal.aborted) return;
      const requestError = toRequestError(thrown);
      if (requestError.status === 401) onUnauthorized(requestError.message);
      setError(requestError);
    }
    setLoading(false);
  };
  const clear = () => {
    abort.current?.abort();
    setLoaded(none);
    setError(undefined);
    setLoading(false);
  };
  const { records, cursor } = loaded.subject === subject ? loaded : none;
  return {
    records,
    cursor,
    error,
    isLoading,
    clear,
    load: (at: string, query: QueryParameters) => void load(at, query),
  };
}
