import type { Responses } from '../api.ts';
import { nextDay, useZone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { TextFilter } from '../controls.tsx';
import { formatCount, formatPart, formatText } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryResult } from '../states.tsx';
import { useQuery } from '../use-query.ts';

/** Number of days after the first one. */
const DAYS = 14;

/** Cohort retention: users grouped by the day they first did a step, and how many returned on later days. */
export function RetentionView() {
  const { address, go } = useNavigation();
  const { from, to } = useShownRange();
  const { types } = useCatalog();
  const offered = types.names;
  const { retention, user, zone: tz } = address;
  const step = retention ?? offered[0];
  const parameters = step === undefined ? undefined : { step, from, to, tz, days: DAYS, user_id: user };
  const cohorts = useQuery('/api/analytics/retention', parameters, JSON.stringify([step, user]));
  return (
    <section class="panel" aria-labelledby="retention">
      <h2 id="retention">Cohort retention</h2>
      <p class="quiet">
        Users grouped by the day they first completed the step in this range, and how many had any event of this type on
        later days.
      </p>
      <div class="head">
        <label>
          Step{' '}
          <select value={step ?? ''} onChange={(event) => go({ retention: event.currentTarget.value })}>
            {[...new Set([...(step === undefined ? [] : [step]), ...offered])].map((choice) => (
              <option key={choice} value={choice}>
                {formatText(choice)}
              </option>
            ))}
          </select>
        </label>
        <TextFilter
          label="or type a step"
          value={undefined}
          placeholder="data_index"
          canBeEmpty
          onSelect={(typed) => typed !== undefined && go({ retention: typed })}
        />
      </div>
      {parameters ? (
        <QueryResult query={cohorts}>{(value) => <Cohorts retention={value} />}</QueryResult>
      ) : (
        <EmptyMessage>No events in this range.</EmptyMessage>
      )}
    </section>
  );
}

function Cohorts({ retention }: { retention: Responses['/api/analytics/retention'] }) {
  const zone = useZone();
  const { cohorts: days } = retention;
  // a day is over once the range includes the start of the next one, or ends there
  const lastDay = days.at(-1);
  const isLastOver =
    lastDay !== undefined && nextDay(zone, Date.parse(lastDay.start)) <= Date.parse(retention.to ?? '');
  const isOver = (day: number) => day < days.length - 1 || (day === days.length - 1 && isLastOver);
  const cohorts = days
    .map((cohort, day) => ({ ...cohort, day }))
    .filter(({ users }) => users > 0)
    .toReversed();
  if (cohorts.length === 0) return <EmptyMessage>No users completed this step in this range.</EmptyMessage>;
  const columns = Math.max(1, ...cohorts.map(({ returned }) => returned.findLastIndex((users) => users !== null) + 1));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
    <section class="scroll tall" tabIndex={0} aria-label="Returning users by day">
      <table class="cohorts">
        <thead>
          <tr>
            <th scope="col">Day</th>
            <th scope="col" class="number">
              Users
            </th>
            {Array.from({ length: columns }, (_, i) => i + 1).map((day) => (
              <th scope="col" class="number" key={day}>
                +{day} d
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {cohorts.map(({ day, start, users, returned }) => (
            <tr key={start}>
              <th scope="row">{start.slice(0, 10)}</th>
              <td class="number">
                <data value={String(users)}>{formatCount(users)}</data>
              </td>
              {returned.slice(0, columns).map((back, i) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: the index is the day
                <Returned key={i} back={back} of={users} isOver={isOver(day + i + 1)} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface ReturnedProps {
  /** Number of users who returned; null for days after the end of the range. */
  readonly back: number | null;
  readonly of: number;
  /** Whether the day is over. Until then, the number can still grow. */
  readonly isOver: boolean;
}

function Returned({ back, of, isOver }: ReturnedProps) {
  if (back === null) return <td />;
  return (
    <td
      class={isOver ? 'number cell' : 'number cell quiet'}
      title={`${back} of ${of} users${isOver ? '' : ' so far (the day is not over)'}`}
      style={{ '--part': isOver ? `${(back / of) * 100}%` : '0%' }}
    >
      <data value={String(back)}>
        {formatPart(back / of)}
        {!isOver && '…'}
      </data>
    </td>
  );
}
