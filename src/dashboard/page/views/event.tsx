import { filterParameters, MAX_TOP } from '../address.ts';
import { type Names, useCatalog } from '../catalog.ts';
import { NamePicker, TextFilter } from '../controls/pickers.tsx';
import { fieldOf, fieldText } from '../controls/property-paths.ts';
import { Figure } from '../figures.tsx';
import { formatText } from '../format.ts';
import { useNameInAddress, useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { eventUnitOf, type Unit, useUnitOf } from '../units.ts';
import { isUnknownName, UnknownName } from '../unknown-name.tsx';
import { useQuery } from '../use-query.ts';
import { NothingBefore, useComparedPeriod } from './before-recording.tsx';
import { type Counts, CountsChart, GroupChart, type SumOf } from './event/charts.tsx';
import { GroupTable } from './event/group-table.tsx';
import { useProperties } from './event/properties.ts';
import { MAX_LINES } from './metric/charts.tsx';

/** An event type over time, and by label or by a property of its data. */
export function EventView() {
  const { address, go } = useNavigation();
  const { types } = useCatalog();
  const type = address.name ?? types.names[0];
  const { from, to, interval } = useShownRange();
  useNameInAddress(type);
  const { zone: tz, user, top, property, sum, split } = address;
  const parameters =
    type === undefined ? undefined : { type, user_id: user, sum, ...filterParameters(address.filters, 'data_index') };
  const subject = JSON.stringify(parameters);
  const previous = useComparedPeriod();
  const field = property ?? 'label';
  const groupBy = property ?? 'data_index';
  const groupSubject = JSON.stringify([parameters, groupBy]);

  const current = parameters && { ...parameters, from, to, tz };
  const before = previous && parameters && { ...parameters, ...previous, tz };
  const counts = useQuery('/api/analytics/counts', current && { ...current, interval }, subject);
  const earlier = useQuery('/api/analytics/counts', before && { ...before, interval }, subject);
  const grouped = { group_by: groupBy, top };
  const groups = useQuery('/api/analytics/counts', current && { ...current, ...grouped }, groupSubject);
  // more of them, because the most frequent groups were others
  const manyGroups = { ...grouped, top: Math.min(MAX_TOP, top * 5) };
  const earlierGroups = useQuery('/api/analytics/counts', before && { ...before, ...manyGroups }, groupSubject);
  const lines = useQuery(
    '/api/analytics/counts',
    split && current && { ...current, interval, ...grouped, top: MAX_LINES },
    groupSubject,
  );
  const properties = useProperties(type);
  const sumName = sum && fieldText(sum);
  const sumUnit = useUnitOf(sumName ?? '');
  const sumOf = sumName === undefined ? undefined : { label: `Sum of ${sumName}`, unit: sumUnit };

  if (type === undefined) return <Unnamed choices={types} />;
  if (isUnknownName(type, types)) return <UnknownName kind="event" name={type} />;
  const unit = eventUnitOf(type);
  const heading = property ? fieldText(property) : 'Label';
  return (
    <>
      <section class="panel" aria-labelledby="type">
        <div class="head named">
          <h2 id="type">{formatText(type)}</h2>
          <NamePicker label="Type" name={type} choices={types} canBeEmpty />
        </div>
        <QueryResult query={counts}>
          {(value) => (
            <Totals
              current={value}
              previous={previous ? (earlier.value ?? 'unknown') : undefined}
              unit={unit}
              sumOf={sumOf}
            />
          )}
        </QueryResult>
        {previous && <QueryErrorNotice query={earlier} />}
        <NothingBefore />
        <div class="chart-options">
          <TextFilter
            label="Sum of"
            value={sumName}
            placeholder="Property"
            choices={properties.numeric.map(fieldText)}
            onSelect={(text) => go({ sum: propertyIn(text) })}
          />
          <label class="check">
            <input
              type="checkbox"
              checked={split !== undefined}
              onChange={() => go({ split: split ? undefined : 'count' })}
            />
            Break down by {property ? <code>{heading}</code> : 'label'}
          </label>
        </div>
        {split ? (
          <QueryResult query={lines}>
            {(value) => <GroupChart key={groupBy} counts={value} groupBy={groupBy} heading={heading} />}
          </QueryResult>
        ) : (
          counts.value && (
            <CountsChart
              counts={counts.value}
              earlier={previous ? earlier.value : undefined}
              sumOf={sumOf}
              unit={unit}
            />
          )
        )}
      </section>
      <section class="panel" aria-labelledby="by-group">
        <div class="head">
          <h2 id="by-group">By {property ? <code>{heading}</code> : 'label'}</h2>
          <TextFilter
            label="Property"
            value={property && fieldText(property)}
            placeholder="Label"
            choices={properties.all.map(fieldText)}
            onSelect={(text) => go({ property: propertyIn(text) })}
          />
        </div>
        <QueryResult query={groups}>
          {(value) => (
            <GroupTable
              counts={value}
              earlier={previous ? (earlierGroups.value ?? 'unknown') : undefined}
              field={field}
              groupBy={groupBy}
              heading={heading}
              sumOf={sumOf}
              unit={unit}
            />
          )}
        </QueryResult>
        {previous && <QueryErrorNotice query={earlierGroups} />}
      </section>
    </>
  );
}

/** Parses a property as typed; undefined for none, or for the label. */
function propertyIn(text: string | undefined): `data.${string}` | undefined {
  const field = fieldOf(text ?? '');
  return field === 'label' ? undefined : field;
}

/** Shown if no type is selected: either there are none, or there are too many to list and the user enters one. */
function Unnamed({ choices }: { choices: Names }) {
  if (choices.isComplete) return <EmptyMessage>No events recorded yet.</EmptyMessage>;
  return (
    <section class="panel" aria-label="Type">
      <NamePicker label="Type" name={undefined} choices={choices} canBeEmpty />
      <EmptyMessage>There are too many event types to list. Enter a name.</EmptyMessage>
    </section>
  );
}

interface TotalsProps {
  readonly current: Counts;
  readonly previous: Counts | 'unknown' | undefined;
  readonly unit: Unit;
  readonly sumOf: SumOf | undefined;
}

/** The figures of the whole range, and of the previous period. */
function Totals({ current, previous, unit, sumOf }: TotalsProps) {
  const before = (figureOf: (counts: Counts) => number | null) =>
    typeof previous === 'object' ? figureOf(previous) : previous;
  return (
    <dl class="figures few">
      <Figure label="Events" value={current.count} unit={unit} previous={before(({ count }) => count)} />
      <Figure
        label="Unique users"
        value={current.unique_users}
        unit={unit}
        previous={before(({ unique_users }) => unique_users)}
      />
      {sumOf && (
        <Figure
          label={sumOf.label}
          value={current.sum ?? null}
          unit={sumOf.unit}
          previous={before(({ sum }) => sum ?? null)}
        />
      )}
    </dl>
  );
}
