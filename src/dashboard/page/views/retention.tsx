import { filterParameters, PERIODS, type Period } from '../address.ts';
import type { Responses } from '../api.ts';
import { useZone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { Segmented } from '../controls/segmented.tsx';
import { formatCount, formatPart } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryResult } from '../states.tsx';
import { type Average, averagesOf, type Cohort, cohortsOf } from '../steps/cohorts.ts';
import { likelyFirstType, parseStep, titleOfStep, writeStep } from '../steps/step.ts';
import { StepPicker } from '../steps/step-picker.tsx';
import { useQuery } from '../use-query.ts';
import { RetentionCurve } from './retention-curve.tsx';

/** Number of periods after the first one. */
const COUNTS: Record<Period, number> = { day: 14, week: 12, month: 12 };

/** Headings: of the cohorts, and of a number of periods later. */
const WORDS: Record<Period, { readonly title: string; readonly short: string; readonly plural: string }> = {
  day: { title: 'Day', short: 'd', plural: 'days' },
  week: { title: 'Week', short: 'w', plural: 'weeks' },
  month: { title: 'Month', short: 'mo', plural: 'months' },
};

/** Ranges with enough cohorts: the name in the URL, and its label. */
const LONGER_RANGES: Record<Period, { readonly name: string; readonly label: string }> = {
  day: { name: '30d', label: 'the last 30 days' },
  week: { name: '90d', label: 'the last 90 days' },
  month: { name: '1y', label: 'the last year' },
};

/** Fewer cohorts than this say little. */
const FEW_COHORTS = 3;

/** Cohort retention: users grouped by when they first did a step, and how many of them returned later. */
export function RetentionView() {
  const { address, go } = useNavigation();
  const { from, to } = useShownRange();
  const { types } = useCatalog();
  const { retention, returning, period, weekStart, user, filters, zone: tz } = address;
  const likely = likelyFirstType(types.names);
  const step = retention ?? (likely === undefined ? undefined : writeStep({ type: likely, label: undefined }));
  const parameters =
    step === undefined
      ? undefined
      : {
          ...{ step, return_step: returning, from, to, tz, period, periods: COUNTS[period], week_start: weekStart },
          user_id: user,
          ...filterParameters(filters, 'data_index'),
        };
  const cohorts = useQuery('/api/analytics/retention', parameters, JSON.stringify([step, returning, period, user]));
  return (
    <section class="panel retention" aria-labelledby="retention">
      <div class="head">
        <h2 id="retention">Retention</h2>
        <Segmented
          label="Cohorts by"
          options={PERIODS.map((name) => ({ value: name, label: WORDS[name].title }))}
          value={period}
          onSelect={(name) => go({ period: name })}
        />
      </div>
      <p class="retention-steps">
        Of the users who first did{' '}
        <StepPicker label="First step" step={step} onSelect={(picked) => go({ retention: picked })} /> in a {period},
        how many did{' '}
        <StepPicker
          label="Return step"
          step={returning}
          anyText="any event"
          onSelect={(picked) => go({ returning: picked })}
        />{' '}
        in later {WORDS[period].plural}?
      </p>
      {parameters ? (
        <QueryResult query={cohorts}>{(value) => <Cohorts retention={value} />}</QueryResult>
      ) : (
        <EmptyMessage>No events have been recorded yet.</EmptyMessage>
      )}
    </section>
  );
}

function Cohorts({ retention }: { retention: Responses['/api/analytics/retention'] }) {
  const { address, go } = useNavigation();
  const zone = useZone();
  const { period } = retention;
  const { cohorts, isOver } = cohortsOf(retention, zone, address.weekStart);
  const longer = LONGER_RANGES[period];
  const suggestion = address.range !== longer.name && retention.cohorts.length < FEW_COHORTS && (
    <button type="button" onClick={() => go({ range: longer.name, from: undefined, to: undefined })}>
      Show {longer.label}
    </button>
  );
  if (cohorts.length === 0) {
    return (
      <EmptyMessage>
        No users did {titleOfStep(parseStep(retention.step))} in this range. {suggestion || 'Try a longer range.'}
      </EmptyMessage>
    );
  }
  const columns = Math.max(1, ...cohorts.map(({ returned }) => returned.findLastIndex((users) => users !== null) + 1));
  const averages = averagesOf(cohorts, isOver, columns);
  const users = cohorts.reduce((sum, cohort) => sum + cohort.users, 0);
  return (
    <>
      {suggestion && (
        <p class="quiet">
          This range has too few {WORDS[period].plural} to compare. {suggestion}
        </p>
      )}
      <Summary averages={averages} period={period} />
      <RetentionCurve averages={averages} unit={period} />
      <CohortTable cohorts={cohorts} isOver={isOver} averages={averages} period={period} users={users} />
      <Legend max={maxPart(cohorts, isOver)} />
    </>
  );
}

/** The result in a sentence: who returns after one period, and in the last one that is over. */
function Summary({ averages, period }: { averages: readonly (Average | undefined)[]; period: Period }) {
  const last = averages.findLastIndex((average) => average !== undefined);
  const first = averages[0];
  if (!first)
    return (
      <p class="retention-summary">
        No {period} after a first {period} is over yet.
      </p>
    );
  const average = averages[last];
  const after = (count: number) => `${count} ${count === 1 ? period : WORDS[period].plural}`;
  return (
    <p class="retention-summary">
      <b>{formatPart(first.returned / first.users)}</b> return after {after(1)}
      {last > 0 && average && (
        <>
          , and <b>{formatPart(average.returned / average.users)}</b> after {after(last + 1)}
        </>
      )}
      .
    </p>
  );
}

interface CohortTableProps {
  readonly cohorts: readonly Cohort[];
  readonly isOver: (index: number) => boolean;
  readonly averages: readonly (Average | undefined)[];
  readonly period: Period;
  /** Users of all cohorts. */
  readonly users: number;
}

function CohortTable({ cohorts, isOver, averages, period, users }: CohortTableProps) {
  const { title, short } = WORDS[period];
  const max = maxPart(cohorts, isOver);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
    <section class="scroll tall" tabIndex={0} aria-label={`Returning users by ${period}`}>
      <table class="cohorts" style={{ '--columns': String(averages.length) }}>
        <thead>
          <tr>
            <th scope="col">{title}</th>
            <th scope="col" class="number">
              Users
            </th>
            {averages.map((_, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the index is the period
              <th scope="col" class="number" key={i}>
                +{i + 1} {short}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {cohorts.map(({ index, start, users: size, returned }) => (
            <tr key={start}>
              <th scope="row">{start.slice(0, period === 'month' ? 7 : 10)}</th>
              <td class="number">
                <data value={String(size)}>{formatCount(size)}</data>
              </td>
              {averages.map((_, i) => (
                <Returned
                  // biome-ignore lint/suspicious/noArrayIndexKey: the index is the period
                  key={i}
                  back={returned[i] ?? null}
                  of={size}
                  max={max}
                  isOver={isOver(index + i + 1)}
                  period={period}
                />
              ))}
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" title={`Weighted by users; without ${WORDS[period].plural} that are not over`}>
              Average
            </th>
            <td class="number">
              <data value={String(users)}>{formatCount(users)}</data>
            </td>
            {averages.map((average, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the index is the period
              <td class="number" key={i} title={average && averageTitle(average)}>
                {average && (
                  <data value={String(average.returned / average.users)}>
                    {formatPart(average.returned / average.users)}
                  </data>
                )}
              </td>
            ))}
          </tr>
        </tfoot>
      </table>
    </section>
  );
}

function averageTitle({ returned, users, cohorts }: Average): string {
  return `${formatCount(returned)} of ${formatCount(users)} users in ${formatCount(cohorts)} ${cohorts === 1 ? 'cohort' : 'cohorts'}`;
}

interface ReturnedProps {
  /** Number of users who returned; null for periods after the end of the range. */
  readonly back: number | null;
  readonly of: number;
  /** The part that has the strongest color. */
  readonly max: number;
  /** Whether the period is over. Until then, the number can still grow. */
  readonly isOver: boolean;
  readonly period: Period;
}

function Returned({ back, of, max, isOver, period }: ReturnedProps) {
  if (back === null) return <td />;
  return (
    <td
      class={isOver ? 'number heat' : 'number heat unfinished'}
      title={`${formatCount(back)} of ${formatCount(of)} users${isOver ? '' : ` so far (the ${period} is not over)`}`}
      style={{ '--part': String(max === 0 ? 0 : Math.min(1, back / of / max)) }}
    >
      <data value={String(back)}>
        {formatPart(back / of)}
        {!isOver && '…'}
      </data>
    </td>
  );
}

/** Returns the largest part of a cohort that returned in a period that is over. */
function maxPart(cohorts: readonly Cohort[], isOver: (index: number) => boolean): number {
  const parts = cohorts.flatMap(({ users, returned, index }) =>
    returned.map((back, i) => (back === null || !isOver(index + i + 1) ? 0 : back / users)),
  );
  return Math.max(0, ...parts);
}

/** What the colors mean. */
function Legend({ max }: { max: number }) {
  return (
    <p class="retention-legend">
      <span>0%</span>
      <span class="retention-scale" aria-hidden="true" />
      <span>{formatPart(max)}</span>
      <span class="unfinished">…</span>
      <span>not over yet, not in the average</span>
    </p>
  );
}
