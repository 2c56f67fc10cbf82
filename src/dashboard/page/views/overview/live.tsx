import { useContext } from 'preact/hooks';
import { inView } from '../../address.ts';
import { Figure } from '../../figures.tsx';
import { formatDuration, formatText, formatValue } from '../../format.ts';
import { Link } from '../../links.tsx';
import { useNavigation } from '../../navigation.ts';
import { QueryErrorNotice, QueryResult } from '../../states.tsx';
import { QuerySessionContext, type QueryState, useQuery } from '../../use-query.ts';
import type { Activity } from './figures.ts';

/** Number of events listed. */
const EVENTS = 6;

interface LiveProps {
  /** The activity of the last minutes. */
  readonly activity: QueryState<Activity>;
  readonly minutes: number;
  readonly isOneUser: boolean;
}

/** What is happening now: active users, rows per minute, and the latest events. */
export function Live({ activity, minutes, isOneUser }: LiveProps) {
  const { value } = activity;
  const rows = value && value.metrics.count + value.analytics.count;
  return (
    <div class="live-columns">
      <dl class="figures">
        {!isOneUser && (
          <Figure label={`Active in the last ${minutes} minutes`} value={value && (value.unique_users ?? 0)} />
        )}
        <Figure label="Rows per minute" value={rows === undefined ? undefined : rows / minutes} format={formatValue} />
      </dl>
      <div>
        <QueryErrorNotice query={activity} />
        <LatestEvents isOneUser={isOneUser} />
      </div>
    </div>
  );
}

function LatestEvents({ isOneUser }: { isOneUser: boolean }) {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { user } = address;
  const events = useQuery('/api/records/analytics', { limit: EVENTS, user_id: user }, user);
  return (
    <QueryResult query={events}>
      {({ records }) =>
        records.length > 0 && (
          <ol class="latest" aria-label="Latest events">
            {records.map((event) => (
              <li key={event.id}>
                <Link to={inView(address, 'event', { name: event.type })}>
                  <span class="name">{formatText(event.type ?? '')}</span>
                </Link>
                {event.data_index !== undefined && event.data_index !== '' && <span>{event.data_index}</span>}
                {!isOneUser && <span class="quiet">{event.user_id}</span>}
                <time class="quiet" dateTime={event.timestamp}>
                  {agoOf(event.timestamp, now)}
                </time>
              </li>
            ))}
          </ol>
        )
      }
    </QueryResult>
  );
}

function agoOf(at: string, now: Date): string {
  const seconds = Math.round((now.getTime() - Date.parse(at)) / 1000);
  return seconds < 1 ? 'just now' : `${formatDuration(seconds)} ago`;
}
