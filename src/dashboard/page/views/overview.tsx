import { useContext, useMemo, useState } from 'preact/hooks';
import { inView, usePlace } from '../address.ts';
import { AskingContext, useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { useCatalog } from '../catalog.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { Figure, Sparkline } from '../figures.tsx';
import { formatBytes, formatCount, formatDuration, formatTime, formatValue } from '../format.ts';
import { Link } from '../links.tsx';
import { extentOf, useShownRange } from '../shown-range.ts';
import { Answered, Nothing } from '../states.tsx';

type Status = Answers['/api/status'];
type Activity = Answers['/api/activity'];

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

/** Beyond it, when the disk will be full is no forecast: 100 years. */
const MANY_DAYS = 36_525;

/** How many names are listed. */
const TOP = 8;

/** What happens now and how the log is. */
export function Overview({ isAdmin }: { isAdmin: boolean }) {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  const catalog = useCatalog();
  const { from, to, interval } = useShownRange(extentOf([...catalog.metrics, ...catalog.types]));
  const { zone: tz, user } = address;
  const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds);

  const status = useAnswer('/api/status', {});
  const activity = useAnswer('/api/activity', { from, to, interval, tz, top: TOP, user_id: user }, user);
  const minute = useAnswer('/api/activity', { from: ago(MINUTE), to: now, top: 1, user_id: user }, user);
  const day = useAnswer('/api/activity', { from: ago(DAY), to: now, top: 1, user_id: user }, user);

  return (
    <>
      <section class="panel" aria-labelledby="activity">
        <h2 id="activity">Rows a minute</h2>
        <dl class="figures">
          <Figure label="In the last minute" value={rowsOf(minute.value)} format={formatRows} />
          <Figure label="In the last 24 hours" value={rowsOf(day.value)} format={formatRows} />
          <Figure label="In this range" value={rowsOf(activity.value)} format={formatRows} />
        </dl>
        <Answered answer={activity}>{(value) => <ActivityChart activity={value} end={to} />}</Answered>
      </section>
      <div class="columns">
        <section class="panel" aria-labelledby="top-metrics">
          <h2 id="top-metrics">Top metrics</h2>
          <Answered answer={activity}>
            {({ metrics }) => (
              <Names
                kind="metric"
                names={metrics.names}
                rest={metrics.other.names}
                empty="No metric in this range. Choose a longer one above."
              />
            )}
          </Answered>
        </section>
        <section class="panel" aria-labelledby="top-types">
          <h2 id="top-types">Top event types</h2>
          <Answered answer={activity}>
            {({ analytics }) => (
              <Names
                kind="event"
                names={analytics.types.map(({ type, ...rest }) => ({ name: type, ...rest }))}
                rest={analytics.other.types}
                empty="No event in this range. Choose a longer one above."
              />
            )}
          </Answered>
        </section>
      </div>
      <div class="columns">
        <section class="panel" aria-labelledby="ledger">
          <h2 id="ledger">Ledger</h2>
          <Answered answer={status}>{({ ledger }) => <Ledger ledger={ledger} />}</Answered>
        </section>
        <section class="panel" aria-labelledby="storage">
          <h2 id="storage">Storage</h2>
          <Answered answer={status}>
            {(value) => <Storage status={value} rowsOfDay={isAdmin && user === undefined ? rowsOf(day.value) : null} />}
          </Answered>
        </section>
      </div>
    </>
  );
}

const formatRows = (count: number | null) => (count === null ? '…' : formatCount(count));

function rowsOf(activity: Activity | undefined): number | null {
  return activity ? activity.metrics.count + activity.analytics.count : null;
}

function ActivityChart({ activity, end }: { activity: Activity; end: Date }) {
  const lines = useMemo((): Line[] => {
    const edges = [...activity.starts.map((start) => Date.parse(start)), end.getTime()];
    const perMinute = (counts: readonly number[]) =>
      counts.map((count, i) => {
        const length = (edges[i + 1] as number) - (edges[i] as number);
        return length > 0 ? (count * MINUTE) / length : count;
      });
    return [
      { label: 'Metrics', values: perMinute(activity.metrics.counts), color: '--chart-1' },
      { label: 'Events', values: perMinute(activity.analytics.counts), color: '--chart-2' },
    ];
  }, [activity, end]);
  if (activity.starts.length === 0) return <Nothing>Nothing happened in this range.</Nothing>;
  return (
    <Chart label="Rows a minute over time" starts={activity.starts} end={end} lines={lines} format={formatValue} />
  );
}

interface NamesProps {
  readonly kind: 'metric' | 'event';
  readonly names: readonly { readonly name: string; readonly count: number; readonly counts: readonly number[] }[];
  /** How many names there are beside them. */
  readonly rest: number;
  readonly empty: string;
}

/** Names with their counts, each a way to its own view. */
function Names({ kind, names, rest, empty }: NamesProps) {
  const { address } = usePlace();
  if (names.length === 0) return <Nothing>{empty}</Nothing>;
  return (
    <>
      <table class="names">
        <thead>
          <tr>
            <th scope="col">{kind === 'metric' ? 'Metric' : 'Type'}</th>
            <th scope="col">
              <span class="unseen">Over time</span>
            </th>
            <th scope="col" class="number">
              Rows
            </th>
          </tr>
        </thead>
        <tbody>
          {names.map(({ name, count, counts }) => (
            <tr key={name}>
              <th scope="row">
                <Link to={inView(address, kind, { name })}>{name || '(no name)'}</Link>
              </th>
              <td>
                <Sparkline counts={counts} />
              </td>
              <td class="number">
                <data value={String(count)}>{formatCount(count)}</data>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rest > 0 && <p class="quiet">And {formatCount(rest)} more.</p>}
    </>
  );
}

/** What became of everything that was received; the reasons of what was rejected are a click away. */
function Ledger({ ledger }: { ledger: Status['ledger'] }) {
  const rejected = Object.entries(ledger.rejected).sort(([, a], [, b]) => b - a);
  const sum = rejected.reduce((all, [, count]) => all + count, 0);
  return (
    <>
      <dl class="figures">
        <Figure label="Received" value={ledger.received} format={formatRows} />
        <Figure label="Stored" value={ledger.stored} format={formatRows} />
        <Figure label="Duplicates" value={ledger.duplicates} format={formatRows} />
        <Figure label="Rejected" value={sum} format={formatRows} />
      </dl>
      <p class="quiet">Of all users, since the database was made. Received is always the sum of the other three.</p>
      {rejected.map(([code, count]) => (
        <Rejected key={code} code={code} count={count} />
      ))}
    </>
  );
}

function Rejected({ code, count }: { code: string; count: number }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="rejected" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <code>{code}</code> <data value={String(count)}>{formatCount(count)}</data> <span class="quiet">why?</span>
      </summary>
      {isOpen && <Reasons code={code} />}
    </details>
  );
}

/** Why items were rejected, the last ones first. */
function Reasons({ code }: { code: string }) {
  const { address } = usePlace();
  const answer = useAnswer('/api/rejections', { code, limit: 20, user_id: address.user }, code);
  return (
    <Answered answer={answer}>
      {({ rejections }) =>
        rejections.length === 0 ? (
          <Nothing>None that this token may see, since the server was started.</Nothing>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          <section class="scroll tall" tabIndex={0} aria-label={`Last items rejected with ${code}`}>
            <ul class="reasons">
              {rejections.map((one) => (
                <li key={`${one.at} ${one.request_id}`}>
                  {one.faults.length === 0
                    ? one.message
                    : one.faults.map(({ loc, msg }) => (
                        <div key={loc.join('.')}>
                          <code>{loc.join('.')}</code> {msg}
                        </div>
                      ))}
                  <small class="quiet">
                    {formatTime(new Date(one.at), address.zone, 'second')} · {one.user_id ?? 'no known user'} ·{' '}
                    {one.route} · {formatCount(one.items)} {one.items === 1 ? 'item' : 'items'} · request{' '}
                    <code>{one.request_id}</code>
                  </small>
                </li>
              ))}
            </ul>
          </section>
        )
      }
    </Answered>
  );
}

interface StorageProps {
  readonly status: Status;
  /** Rows of the last 24 hours; null where this token does not see all of them. */
  readonly rowsOfDay: number | null;
}

/** What the disk holds, and for how long it lasts. */
function Storage({ status, rowsOfDay }: StorageProps) {
  const { metrics, types } = useCatalog();
  const { storage, queue, durability } = status;
  const used = storage.database_bytes + storage.wal_bytes;
  const rows = [...metrics, ...types].reduce((sum, { count }) => sum + count, 0);
  const bytesOfDay = rowsOfDay === null || rows === 0 ? null : (storage.database_bytes / rows) * rowsOfDay;
  return (
    <>
      <dl class="figures">
        <Figure label="Used" value={used} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Free on the disk" value={storage.free_bytes} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Waiting for the disk" value={queue.rows} format={formatRows}>
          of at most {formatCount(queue.max_rows)} rows
        </Figure>
      </dl>
      <p id="forecast">{forecast(bytesOfDay, storage.free_bytes)}</p>
      <p>
        Durability: answered <b>{durability.acknowledged}</b> ({durability.journal.toUpperCase()} journal). Version{' '}
        {status.version}, up for {formatDuration(status.uptime_seconds)}.
      </p>
    </>
  );
}

/** When the disk will be full, should every day be as the last 24 hours were, by the bytes of a row so far. */
function forecast(bytesOfDay: number | null, free: number): string {
  if (bytesOfDay === null) return 'When the disk will be full is told to admins, who see the rows of all users.';
  if (bytesOfDay === 0) return 'Nothing was recorded in the last 24 hours: at this rate the disk is never full.';
  const days = free / bytesOfDay;
  const left = days > MANY_DAYS ? 'more than 100 years' : formatDuration(days * 86_400);
  return `At the rate of the last 24 hours (${formatBytes(bytesOfDay)} a day) the disk is full in ${left}.`;
}
