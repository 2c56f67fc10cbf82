import { type Address, filterParameters, linkTo, onlyLabel } from '../address.ts';
import type { BoardChart, ChartRange, QueryParameters } from '../api.ts';
import { formatText } from '../format.ts';
import type { ShownRange } from '../shown-range.ts';
import { parseStep, titleOfStep } from '../steps/step.ts';
import { rangeNamed } from '../time.ts';
import { type UnitSetting, unitOf } from '../units.ts';
import { chartedStatistics, TITLES } from '../views/metric/statistics.ts';

/** Maximum number of groups on a chart. */
const MAX_LINES = 5;
/** Periods that a pinned retention chart follows. */
const RETENTION_PERIODS = '12';

/** The views whose chart can be pinned. */
export const PINNABLE = ['metric', 'event', 'funnel', 'retention'] as const;

/** Returns the range of an address as boards store it: evaluated again whenever the chart is drawn. */
export function storedRange({ range, from, to }: Address): ChartRange {
  if (from && to) return { from: from.toISOString(), to: to.toISOString() };
  const named = rangeNamed(range);
  if (!named) return { all: true };
  const { span, within, isOver } = named;
  if (within === undefined || span.unit === 'milliseconds') return { last: `${Math.round(span.count / 3_600_000)}h` };
  const isWhole = span.count === 1 || (within === 'week' && span.count === 7) || within === 'year';
  if (isWhole && (within !== 'day' || span.unit === 'days')) return { period: within, ...(isOver && { back: 1 }) };
  return { last: `${span.count}${span.unit === 'days' ? 'd' : 'M'}`, whole: true };
}

/**
 * Returns the chart of a view as boards store it.
 *
 * @returns undefined if the view has no chart yet, such as a funnel with one step
 */
export function chartOf(
  address: Address,
  { interval }: Pick<ShownRange, 'interval'>,
  units: readonly UnitSetting[],
): BoardChart | undefined {
  const query = queryOf(address, interval);
  if (!query) return undefined;
  const { name, parameters } = query;
  const range = storedRange(address);
  return {
    title: titleOf(address, units).slice(0, 200),
    view: linkTo({ ...address, refresh: 30, live: false, board: undefined }).slice('/?'.length),
    query: {
      ...{ name, range, parameters: textsOf(parameters) },
      // a funnel and cohort retention are shown without a comparison
      ...(address.compare && !('all' in range) && (name === 'series' || name === 'counts')
        ? { compare: address.compare }
        : {}),
    },
  };
}

/** Returns the query of a view's chart, without its range. */
function queryOf(
  address: Address,
  interval: string,
): { name: BoardChart['query']['name']; parameters: QueryParameters } | undefined {
  const { view, name, zone: tz, weekStart: week_start, user, filters, split, property, sum, steps } = address;
  const common = { user_id: user, tz };
  if (view === 'metric' && name !== undefined) {
    const groups = split && { group_by: 'data_string', top: MAX_LINES };
    const parameters = {
      name,
      interval,
      week_start,
      ...common,
      ...groups,
      ...filterParameters(filters, 'data_string'),
    };
    return { name: 'series', parameters };
  }
  const events = { ...common, ...filterParameters(filters, 'data_index') };
  if (view === 'event' && name !== undefined) {
    const groups = split && { group_by: property ?? 'data_index', top: MAX_LINES };
    return { name: 'counts', parameters: { type: name, interval, week_start, sum, ...groups, ...events } };
  }
  if (view === 'funnel' && steps.length >= 2) {
    return { name: 'funnel', parameters: { step: steps, within: address.within, ...events } };
  }
  if (view === 'retention' && address.retention !== undefined) {
    const { retention: step, returning: return_step, period } = address;
    return {
      name: 'retention',
      parameters: { step, return_step, period, periods: RETENTION_PERIODS, week_start, ...events },
    };
  }
  return undefined;
}

function textsOf(parameters: QueryParameters): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(parameters).flatMap(([name, value]) => {
      if (value === undefined) return [];
      return [[name, Array.isArray(value) ? value.map(String) : String(value)]];
    }),
  );
}

/** Returns the heading of a view's chart. */
function titleOf(
  { view, name = '', statistic, split, steps, retention, property, filters }: Address,
  units: readonly UnitSetting[],
): string {
  if (view === 'funnel') return steps.map((step) => titleOfStep(parseStep(step))).join(' → ');
  if (view === 'retention') return `Retention after ${titleOfStep(parseStep(retention ?? ''))}`;
  const label = onlyLabel(filters);
  const text = label === undefined ? formatText(name) : `${formatText(name)} ${formatText(label)}`;
  const groups = split ? ` by ${property ? property.slice('data.'.length) : 'label'}` : '';
  if (view === 'event') return text + groups;
  const [shown] = chartedStatistics(unitOf(name, units), split ?? statistic);
  return `${text}: ${TITLES[shown ?? 'count'].toLowerCase().replace(' (p50)', '')}${groups}`;
}
