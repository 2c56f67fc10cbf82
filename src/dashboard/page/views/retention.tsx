import { useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { nextDay, useZone } from '../calendar.ts';
import { TextFilter } from '../controls.tsx';
import { formatCount, formatPart, formatText } from '../format.ts';
import { usePlace } from '../place.ts';
import type { ShownRange } from '../shown-range.ts';
import { Answered, Nothing } from '../states.tsx';

/** How many days are looked at. */
const DAYS = 14;

interface RetentionProps {
  readonly type: string;
  /** Values of `data_index` that are offered. */
  readonly offered: readonly string[];
  readonly range: ShownRange;
}

/** How many of those who did a step on a day came back on the days after it. */
export function Retention({ type, offered, range: { from, to } }: RetentionProps) {
  const { address, go } = usePlace();
  const { retention, user, zone: tz } = address;
  const step = retention ?? offered[0];
  const asked = step === undefined ? undefined : { type, step, from, to, tz, days: DAYS, user_id: user };
  const answer = useAnswer('/api/analytics/retention', asked, JSON.stringify([type, step, user]));
  return (
    <section class="panel" aria-labelledby="retention">
      <h2 id="retention">Retention</h2>
      <p class="quiet">
        Of the users who did the step for the first time in this range on a day: how many had any event of this type on
        the days after it.
      </p>
      <div class="head">
        <label>
          Step{' '}
          <select value={step ?? ''} onChange={(event) => go({ retention: event.currentTarget.value })}>
            {[...new Set([...(step === undefined ? [] : [step]), ...offered])].map((one) => (
              <option key={one} value={one}>
                {formatText(one)}
              </option>
            ))}
          </select>
        </label>
        <TextFilter
          label="or type a step"
          value={undefined}
          placeholder="data_index"
          canBeEmpty
          onChosen={(one) => one !== undefined && go({ retention: one })}
        />
      </div>
      {asked ? (
        <Answered answer={answer}>{(value) => <Cohorts retention={value} />}</Answered>
      ) : (
        <Nothing>No event in this range.</Nothing>
      )}
    </section>
  );
}

function Cohorts({ retention }: { retention: Answers['/api/analytics/retention'] }) {
  const zone = useZone();
  const { cohorts: days } = retention;
  // a day is over where the next one has begun in the range, or begins at its end
  const lastDay = days.at(-1);
  const isLastOver =
    lastDay !== undefined && nextDay(zone, Date.parse(lastDay.start)) <= Date.parse(retention.to ?? '');
  const isOver = (day: number) => day < days.length - 1 || (day === days.length - 1 && isLastOver);
  const cohorts = days
    .map((cohort, day) => ({ ...cohort, day }))
    .filter(({ users }) => users > 0)
    .toReversed();
  if (cohorts.length === 0) return <Nothing>Nobody did this step in this range.</Nothing>;
  const columns = Math.max(1, ...cohorts.map(({ returned }) => returned.findLastIndex((users) => users !== null) + 1));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroll tall" tabIndex={0} aria-label="Users who came back, by day">
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
                // biome-ignore lint/suspicious/noArrayIndexKey: the place is the day
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
  /** How many came back; null where nobody can know yet. */
  readonly back: number | null;
  readonly of: number;
  /** Whether the day is over: until then more may come. */
  readonly isOver: boolean;
}

function Returned({ back, of, isOver }: ReturnedProps) {
  if (back === null) return <td />;
  return (
    <td
      class={isOver ? 'number cell' : 'number cell quiet'}
      title={`${back} of ${of} users${isOver ? '' : ' so far: the day is not over'}`}
      style={{ '--part': isOver ? `${(back / of) * 100}%` : '0%' }}
    >
      <data value={String(back)}>
        {formatPart(back / of)}
        {!isOver && '…'}
      </data>
    </td>
  );
}
