import { useMemo } from 'preact/hooks';
import { useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { type BarRow, BarTable, MoreGroups, othersLabel } from '../bar-table.tsx';
import { type Names, useCatalog } from '../catalog.ts';
import { beside } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { LabelFilter, NamePicker } from '../controls.tsx';
import { Figure } from '../figures.tsx';
import { formatCount, formatText } from '../format.ts';
import { useNameInAddress, usePlace } from '../place.ts';
import { useShownRange } from '../shown-range.ts';
import { Answered, Nothing, Trouble } from '../states.tsx';
import { Funnel } from './funnel.tsx';
import { Retention } from './retention.tsx';

type Counts = Answers['/api/analytics/counts'];

/** How many values of `data_index` are offered as steps. */
const OFFERED = 100;

/** One type of event over time, with its funnel and its retention. */
export function EventView() {
  const { address, go } = usePlace();
  const { types } = useCatalog();
  const type = address.name ?? types.names[0];
  const range = useShownRange();
  const { from, to, interval } = range;
  useNameInAddress(type);
  const { zone: tz, user, label, compare, top } = address;
  const asked = type === undefined ? undefined : { type, user_id: user, data_index: label };
  const subject = JSON.stringify(asked);
  const before = compare ? range.before : undefined;

  const counts = useAnswer('/api/analytics/counts', asked && { ...asked, from, to, interval, tz }, subject);
  const earlier = useAnswer('/api/analytics/counts', before && asked && { ...asked, ...before, interval, tz }, subject);
  const labels = useAnswer(
    '/api/analytics/counts',
    asked && { ...asked, from, to, tz, group_by: 'data_index', top },
    subject,
  );
  const offered = useAnswer(
    '/api/analytics/counts',
    type === undefined ? undefined : { type, user_id: user, from, to, tz, group_by: 'data_index', top: OFFERED },
    JSON.stringify([type, user]),
  );
  const steps = offered.value?.groups?.map(({ data_index }) => data_index) ?? [];

  if (type === undefined) return <Unnamed choices={types} />;
  return (
    <>
      <section class="panel" aria-labelledby="type">
        <div class="head">
          <h2 id="type">{formatText(type)}</h2>
          <NamePicker label="Type" name={type} choices={types} canBeEmpty />
          <LabelFilter label="data_index" choices={steps} />
          <label class="check">
            <input type="checkbox" checked={compare} onChange={() => go({ compare: !compare })} /> Compare with the
            period before
          </label>
        </div>
        <Answered answer={counts}>
          {(value) => (
            <>
              <dl class="figures">
                <Figure
                  label="Events"
                  value={value.count}
                  format={formatCount}
                  before={compare ? (earlier.value?.count ?? 'unknown') : undefined}
                />
                <Figure
                  label="Unique users"
                  value={value.unique_users}
                  format={formatCount}
                  before={compare ? (earlier.value?.unique_users ?? 'unknown') : undefined}
                />
              </dl>
              {compare && <Trouble of={earlier} />}
              <CountsChart counts={value} earlier={compare ? earlier.value : undefined} />
            </>
          )}
        </Answered>
      </section>
      <section class="panel" aria-labelledby="by-index">
        <h2 id="by-index">By data_index</h2>
        <Answered answer={labels}>{(value) => <ByIndex counts={value} />}</Answered>
      </section>
      <Funnel type={type} offered={steps} range={range} />
      <Answered answer={offered}>{() => <Retention type={type} offered={steps} range={range} />}</Answered>
    </>
  );
}

/** Where no type is known: none has been recorded, or there are too many to list, and one can be typed. */
function Unnamed({ choices }: { choices: Names }) {
  if (choices.isComplete) return <Nothing>No event has been recorded yet.</Nothing>;
  return (
    <section class="panel" aria-label="Type">
      <NamePicker label="Type" name={undefined} choices={choices} canBeEmpty />
      <Nothing>There are too many types to list them. Type the name of one.</Nothing>
    </section>
  );
}

function CountsChart({ counts, earlier }: { counts: Counts; earlier: Counts | undefined }) {
  const { buckets } = counts;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const lines = useMemo(() => {
    const made: Line[] = [
      { label: 'Events', values: buckets.map(({ count }) => count), color: '--chart-1', shape: 'bars' },
      { label: 'Unique users', values: buckets.map(({ unique_users }) => unique_users), color: '--chart-3' },
    ];
    if (earlier) {
      const values = beside(counts, earlier).map((bucket) => bucket?.count ?? null);
      made.push({ label: 'Events, period before', values, color: '--chart-5', shape: 'dashed' });
    }
    return made;
  }, [counts, buckets, earlier]);
  return (
    <>
      {counts.count === 0 && <Nothing>No event in this range. Choose a longer one above.</Nothing>}
      {starts.length > 0 && (
        <Chart
          label={`${formatText(counts.type)} over time`}
          range={counts}
          starts={starts}
          lines={lines}
          format={formatCount}
        />
      )}
    </>
  );
}

/** How often each value of `data_index` occurs, the most frequent first, and the rest together. */
function ByIndex({ counts }: { counts: Counts }) {
  const { go } = usePlace();
  const { groups = [], other } = counts;
  if (groups.length === 0) return <Nothing>No event in this range.</Nothing>;
  const rest = other && other.labels > 0 ? other : undefined;
  const most = Math.max(1, groups[0]?.count ?? 0, rest?.count ?? 0);
  const row = (label: string, { count, unique_users }: Pick<Counts, 'count' | 'unique_users'>): BarRow => ({
    label,
    part: count / most,
    cells: [count, unique_users].map((value) => ({ value, text: formatCount(value) })),
  });
  return (
    <>
      <BarTable
        title="Events by data_index"
        label="data_index"
        partOf="the most frequent"
        columns={['Events', 'Users']}
        rows={[
          ...groups.map((group) => ({
            ...row(group.data_index, group),
            onChosen: () => go({ label: group.data_index }),
          })),
          ...(rest ? [row(othersLabel(rest.labels), rest)] : []),
        ]}
      />
      {rest && <MoreGroups />}
    </>
  );
}
