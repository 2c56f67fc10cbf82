import { timeOf } from '../../../formats/time-zone.ts';
import type { Period, WeekStart } from '../address.ts';
import type { Responses } from '../api.ts';
import { wallOf, type Zone } from '../calendar.ts';

type Retention = Responses['/api/analytics/retention'];

/** A cohort with users, and the index of its period in the range. */
export interface Cohort {
  readonly start: string;
  readonly users: number;
  /** Users who returned 1, 2, … periods later; null for periods after the end of the range. */
  readonly returned: readonly (number | null)[];
  readonly index: number;
}

/** The weighted average of the periods that are over: `returned` of `users`, in `cohorts` cohorts. */
export interface Average {
  readonly returned: number;
  readonly users: number;
  readonly cohorts: number;
}

const DAY = 86_400_000;
/** The weekday of 1 January 1970, with Sunday as 0. */
const FIRST_WEEKDAY = 4;

/** Returns the start of the next local day, week or month. */
export function nextPeriod(zone: Zone, moment: number, period: Period, weekStart: WeekStart): number {
  const day = Math.floor(wallOf(zone, moment) / DAY);
  if (period === 'day') return timeOf(zone, (day + 1) * DAY);
  if (period === 'week') {
    const weekday = (((day + FIRST_WEEKDAY) % 7) + 7) % 7;
    const daysInto = (weekday - (weekStart === 'monday' ? 1 : 0) + 7) % 7;
    return timeOf(zone, (day - daysInto + 7) * DAY);
  }
  const date = new Date(day * DAY);
  return timeOf(zone, Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1));
}

/** Returns the cohorts with users, newest first, and whether the period with an index is over. */
export function cohortsOf(
  { cohorts, period, to }: Retention,
  zone: Zone,
  weekStart: WeekStart,
): { readonly cohorts: Cohort[]; readonly isOver: (index: number) => boolean } {
  // a period is over once the range includes the start of the next one, or ends there
  const last = cohorts.at(-1);
  const isLastOver =
    last !== undefined && nextPeriod(zone, Date.parse(last.start), period, weekStart) <= Date.parse(to ?? '');
  return {
    cohorts: cohorts
      .map((cohort, index) => ({ ...cohort, index }))
      .filter(({ users }) => users > 0)
      .toReversed(),
    isOver: (index) => index < cohorts.length - 1 || (index === cohorts.length - 1 && isLastOver),
  };
}

/** Returns the average of each period after the first, weighted by the users of the cohorts; only periods that are over. */
export function averagesOf(
  cohorts: readonly Cohort[],
  isOver: (index: number) => boolean,
  periods: number,
): (Average | undefined)[] {
  return Array.from({ length: periods }, (_, i) => {
    const counted = cohorts.filter(({ returned, index }) => returned[i] != null && isOver(index + i + 1));
    if (counted.length === 0) return undefined;
    return {
      returned: counted.reduce((sum, { returned }) => sum + (returned[i] ?? 0), 0),
      users: counted.reduce((sum, { users }) => sum + users, 0),
      cohorts: counted.length,
    };
  });
}
