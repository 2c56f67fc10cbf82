import { useMemo } from 'preact/hooks';
import { type Address, readAddress } from '../address.ts';
import type { Responses } from '../api.ts';
import { BarTable } from '../bar-table.tsx';
import { useZone, type Zone, ZoneContext } from '../calendar.ts';
import { alignEarlierBuckets } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import { type Line, previousOf } from '../chart/line.ts';
import { fieldText } from '../controls/property-paths.ts';
import { Figure } from '../figures.tsx';
import { formatCount, formatPart, formatText } from '../format.ts';
import { type Navigation, NavigationContext } from '../navigation.ts';
import { EmptyMessage } from '../states.tsx';
import { averagesOf, cohortsOf } from '../steps/cohorts.ts';
import { parseStep, titleOfStep } from '../steps/step.ts';
import { eventUnitOf, headlineOf, type Unit, unitOf, unitOfStatistic } from '../units.ts';
import { type CountsChart, GroupChart } from '../views/event/charts.tsx';
import { LabelChart, StatisticsChart } from '../views/metric/charts.tsx';
import { chartedStatistics, TITLES } from '../views/metric/statistics.ts';
import { RetentionCurve } from '../views/retention-curve.tsx';
import { AnnotationsContext, marksOf } from './annotations.ts';
import type { DrawnChart } from './requests.ts';

type Series = Responses['/api/metrics/series'];
type Counts = Responses['/api/analytics/counts'];
type Funnel = Responses['/api/analytics/funnel'];
type Retention = Responses['/api/analytics/retention'];

interface DrawnProps {
  readonly chart: DrawnChart;
  readonly zone: Zone;
  /** Called when a range is selected on the chart; undefined: nothing happens. */
  readonly onZoom: ((change: Partial<Address>) => void) | undefined;
}

/** A chart of a board with its main figure, as the view it was pinned from draws it. */
export function Drawn({ chart, zone, onZoom }: DrawnProps) {
  const address = useMemo(() => addressOf(chart), [chart]);
  const marks = useMemo(() => marksOf(chart.annotations), [chart.annotations]);
  const navigation: Navigation = { address, go: (change) => onZoom?.(change) };
  return (
    <NavigationContext.Provider value={navigation}>
      <ZoneContext.Provider value={zone}>
        <AnnotationsContext.Provider value={marks}>
          <Content chart={chart} address={address} />
        </AnnotationsContext.Provider>
      </ZoneContext.Provider>
    </NavigationContext.Provider>
  );
}

/** Returns the address of a chart's view. */
export function addressOf({ view, tz }: Pick<DrawnChart, 'view' | 'tz'>): Address {
  return { ...readAddress(`?${view}`), zone: tz };
}

function Content({ chart, address }: { chart: DrawnChart; address: Address }) {
  const { query, result, compared } = chart;
  // the name of the query decides which response it is
  if (query === 'series') {
    const setting = chart.unit ? [{ name: (result as Series).name, ...chart.unit }] : [];
    const unit = unitOf((result as Series).name, setting);
    return (
      <Metric
        series={result as Series}
        earlier={(compared as Series | null) ?? undefined}
        address={address}
        unit={unit}
      />
    );
  }
  if (query === 'counts') {
    return <Events counts={result as Counts} earlier={(compared as Counts | null) ?? undefined} address={address} />;
  }
  if (query === 'funnel') return <FunnelTable funnel={result as Funnel} />;
  return <Cohorts retention={result as Retention} address={address} />;
}

interface MetricProps {
  readonly series: Series;
  readonly earlier: Series | undefined;
  readonly address: Address;
  readonly unit: Unit;
}

function Metric({ series, earlier, address, unit }: MetricProps) {
  const { split, statistic } = address;
  const statistics = chartedStatistics(unit, split ?? statistic);
  const main = statistics[0] ?? headlineOf(unit);
  return (
    <>
      <dl class="figures few">
        <Figure
          label={TITLES[main]}
          value={series[main]}
          unit={unitOfStatistic(unit, main)}
          previous={earlier?.[main]}
        />
      </dl>
      {split ? (
        <LabelChart series={series} statistic={split} unit={unit} />
      ) : (
        <StatisticsChart series={series} earlier={earlier} statistics={statistics} unit={unit} />
      )}
    </>
  );
}

function Events({ counts, earlier, address }: { counts: Counts; earlier: Counts | undefined; address: Address }) {
  const { split, property, sum } = address;
  const unit = eventUnitOf(counts.type);
  const sumOf = sum && { label: `Sum of ${fieldText(sum)}`, unit: unitOf(fieldText(sum)) };
  return (
    <>
      <dl class="figures few">
        <Figure label="Events" value={counts.count} unit={unit} previous={earlier?.count} />
        <Figure label="Unique users" value={counts.unique_users} unit={unit} previous={earlier?.unique_users} />
        {sumOf && <Figure label={sumOf.label} value={counts.sum ?? null} unit={sumOf.unit} previous={earlier?.sum} />}
      </dl>
      {split ? (
        <GroupChart
          counts={counts}
          groupBy={property ?? 'data_index'}
          heading={property ? fieldText(property) : 'Label'}
        />
      ) : (
        <MainCounts counts={counts} earlier={earlier} sumOf={sumOf} unit={unit} />
      )}
    </>
  );
}

type CountsProps = Parameters<typeof CountsChart>[0];

/** The sum over time, or without one the events. The table of the chart has all figures, as in the view of the event. */
function MainCounts({ counts, earlier, sumOf, unit }: CountsProps) {
  const { buckets } = counts;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const [sumLabel, sumSymbol] = [sumOf?.label, sumOf?.unit.symbol];
  // biome-ignore lint/correctness/useExhaustiveDependencies: sums are equal if their parts are
  const [lines, others] = useMemo(() => {
    const events: Line = {
      label: 'Events',
      color: '--chart-1',
      shape: 'bars',
      unit,
      values: buckets.map(({ count }) => count),
    };
    const users: Line = {
      label: 'Unique users',
      color: '--chart-3',
      unit,
      values: buckets.map((bucket) => bucket.unique_users),
    };
    const sums: Line | undefined = sumOf && {
      ...{ label: sumOf.label, color: '--chart-1', shape: 'bars', unit: sumOf.unit },
      values: buckets.map(({ sum }) => sum ?? null),
    };
    const main = sums ?? events;
    const before = earlier && alignEarlierBuckets(counts, earlier);
    const previous = before && previousOf(main, before, (bucket) => (sums ? (bucket.sum ?? null) : bucket.count));
    return [previous ? [main, previous] : [main], sums ? [events, users] : [users]];
  }, [counts, earlier, sumLabel, sumSymbol, unit.better]);
  if (counts.count === 0) return <EmptyMessage>No events in this range.</EmptyMessage>;
  const label = `${sumOf ? `${sumOf.label} of ` : ''}${formatText(counts.type)} over time`;
  return (
    <Chart label={label} range={counts} starts={starts} lines={lines} tableLines={others} unit={sumOf?.unit ?? unit} />
  );
}

function FunnelTable({ funnel }: { funnel: Funnel }) {
  const { steps } = funnel;
  return (
    <>
      <dl class="figures few">
        <Figure label="Complete all steps" value={steps.at(-1)?.conversion ?? null} format={formatPart}>
          {formatCount(steps.at(-1)?.users ?? 0)} of {formatCount(steps[0]?.users ?? 0)} users
        </Figure>
      </dl>
      <BarTable
        title="Users by step"
        label="Step"
        relativeTo="the first step"
        columns={['Users', 'Of first', 'Lost'].map((title) => ({ title }))}
        rows={steps.map(({ step, users, conversion }, i) => ({
          label: titleOfStep(parseStep(step)),
          part: conversion ?? 0,
          cells: [
            { value: users, text: formatCount(users) },
            { text: formatPart(conversion) },
            { text: i === 0 ? '' : lostText((steps[i - 1]?.users ?? users) - users, steps[i - 1]?.users ?? 0) },
          ],
        }))}
      />
    </>
  );
}

function lostText(lost: number, before: number): string {
  return lost > 0 ? `−${formatCount(lost)}, ${formatPart(lost / before)}` : '0';
}

const ABBREVIATIONS = { day: 'd', week: 'w', month: 'mo' } as const;

function Cohorts({ retention, address }: { retention: Retention; address: Address }) {
  const zone = useZone();
  const { cohorts, isOver } = cohortsOf(retention, zone, address.weekStart);
  if (cohorts.length === 0) return <EmptyMessage>No users did this in the range.</EmptyMessage>;
  const columns = Math.max(1, ...cohorts.map(({ returned }) => returned.findLastIndex((users) => users !== null) + 1));
  const averages = averagesOf(cohorts, isOver, columns);
  const { period } = retention;
  const [first] = averages;
  const users = cohorts.reduce((sum, cohort) => sum + cohort.users, 0);
  return (
    <>
      <dl class="figures few">
        <Figure
          label={`Return after 1 ${period}`}
          value={first ? first.returned / first.users : null}
          format={formatPart}
        />
        <Figure label="Users" value={users} />
      </dl>
      <RetentionCurve averages={averages} unit={ABBREVIATIONS[period]} />
      <details>
        <summary>Table of figures</summary>
        <BarTable
          title={`Users who return, by ${period}`}
          label={`${period[0]?.toUpperCase()}${period.slice(1)}s later`}
          relativeTo="all users"
          columns={['Returned', 'Of users'].map((title) => ({ title }))}
          rows={averages.flatMap((average, i) =>
            average
              ? [
                  {
                    label: String(i + 1),
                    part: average.returned / average.users,
                    cells: [
                      { value: average.returned, text: formatCount(average.returned) },
                      { text: formatPart(average.returned / average.users) },
                    ],
                  },
                ]
              : [],
          )}
        />
      </details>
    </>
  );
}
