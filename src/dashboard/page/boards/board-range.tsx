import { useContext, useMemo } from 'preact/hooks';
import { linkTo, type WeekStart } from '../address.ts';
import { useZone, type Zone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { useNavigation } from '../navigation.ts';
import { comparedPeriod, type ShownRange, shownRange } from '../shown-range.ts';
import { RANGES } from '../time.ts';
import { UnitsContext } from '../units.ts';
import { QuerySessionContext, type QueryState, useQuery } from '../use-query.ts';
import { useAnnotations } from './annotations.ts';
import { addressOf } from './drawn.tsx';
import { usePermissions } from './permissions.ts';
import { storedRange } from './pin.ts';
import type { Annotation, BoardChart, DrawnChart } from './requests.ts';

/** The range chosen for a whole board. */
export interface BoardRange {
  /** One of RANGES, or `all`. */
  readonly name: string;
  readonly shown: ShownRange;
  readonly zone: Zone;
  readonly weekStart: WeekStart;
  readonly annotations: readonly Annotation[];
}

/** Returns the range chosen for the whole board; undefined: each chart has its own. */
export function useBoardRange(): BoardRange | undefined {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { extent } = useCatalog();
  const { canSeeAllUsers } = usePermissions();
  const zone = useZone();
  const name = address.boardRange;
  const changes = { from: undefined, to: undefined, span: undefined, interval: 'auto' } as const;
  const shown = name === undefined ? undefined : shownRange({ ...address, ...changes, range: name }, now, extent, zone);
  const annotations = useAnnotations(canSeeAllUsers ? shown : undefined);
  return name === undefined || !shown ? undefined : { name, shown, zone, weekStart: address.weekStart, annotations };
}

/** Chooses the range of the whole board. */
export function BoardRangePicker() {
  const { address, go } = useNavigation();
  return (
    <label class="board-range">
      Range{' '}
      <select
        value={address.boardRange ?? ''}
        onChange={(event) => go({ boardRange: event.currentTarget.value || undefined })}
      >
        <option value="">As pinned</option>
        {RANGES.map(({ name, label }) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
        <option value="all">All time</option>
      </select>
    </label>
  );
}

/** Returns a chart as if it had been pinned with the range of the board. */
export function chartInRange(chart: BoardChart, { name, shown, zone, weekStart }: BoardRange): BoardChart {
  const tz = zone.name;
  const changes = {
    range: name,
    from: undefined,
    to: undefined,
    span: undefined,
    interval: 'auto',
    weekStart,
  } as const;
  const address = { ...addressOf({ view: chart.view, tz }), ...changes };
  const { parameters, compare, ...query } = chart.query;
  return {
    title: chart.title,
    view: linkTo(address).slice('/?'.length),
    query: {
      ...query,
      range: storedRange(address),
      parameters: {
        ...{ ...parameters, tz },
        ...('interval' in parameters && { interval: shown.interval }),
        ...('week_start' in parameters && { week_start: weekStart }),
      },
      ...(compare && name !== 'all' && { compare }),
    },
  };
}

const ROUTES = {
  series: '/api/metrics/series',
  counts: '/api/analytics/counts',
  funnel: '/api/analytics/funnel',
  retention: '/api/analytics/retention',
} as const;

/** Queries a chart of {@link chartInRange}, as the server draws stored ones. */
export function useChartInRange({ title, view, query }: BoardChart, range: BoardRange): QueryState<DrawnChart> {
  const units = useContext(UnitsContext);
  const { shown, zone, annotations } = range;
  const { name, compare } = query;
  const { name: zoneName } = zone;
  const { tz, ...others } = query.parameters;
  // a funnel has no buckets, and its route no time zone
  const parameters = name === 'funnel' ? others : query.parameters;
  const subject = JSON.stringify(query);
  const before = compare && comparedPeriod(compare, shown, shown.span, zone);
  // all rows, also those of users that the page does not show
  const dates = range.name === 'all' ? {} : { from: shown.from, to: shown.to };
  const current = useQuery(ROUTES[name], { ...parameters, ...dates }, subject);
  const compared = useQuery(ROUTES[name], before && { ...parameters, ...before }, subject);
  const setting = units.find((unit) => unit.name === parameters['name']);
  const isComplete = current.value !== undefined && (!before || compared.value !== undefined);
  const value = useMemo(
    () =>
      current.value &&
      isComplete && {
        ...{ title, view, query: name, tz: zoneName, from: current.value.from, to: current.value.to },
        result: current.value,
        compared: compared.value ?? null,
        unit: setting?.unit ? { unit: setting.unit, better: setting.better ?? null } : null,
        annotations: annotations.map(({ timestamp, text, url }) => ({ timestamp, text, url })),
      },
    [current.value, compared.value, isComplete, setting, annotations, title, view, name, zoneName],
  );
  return { ...current, value: value || undefined, error: current.error ?? compared.error };
}
