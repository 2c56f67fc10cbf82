import type { WeekStart } from '../address.ts';
import { DAY } from '../time.ts';

/*
 * Days of a calendar without a time zone. A day is the time of its midnight in UTC.
 */

/** Returns how many days a day is after the start of its week. */
function weekdayOf(day: number, weekStart: WeekStart): number {
  return (new Date(day).getUTCDay() + (weekStart === 'monday' ? 6 : 0)) % 7;
}

/** Returns the days of six weeks that contain the month of a day. */
export function monthDays(day: number, weekStart: WeekStart): number[] {
  const date = new Date(day);
  const first = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  const start = first - weekdayOf(first, weekStart) * DAY;
  // always six weeks, so that the panel keeps its height
  return Array.from({ length: 42 }, (_, i) => start + i * DAY);
}

/** Returns whether two days are in the same month. */
export function isSameMonth(day: number, other: number): boolean {
  return new Date(day).toISOString().slice(0, 7) === new Date(other).toISOString().slice(0, 7);
}

/** Adds months to a day. The 31st becomes the last day of a shorter month. */
export function addMonth(day: number, months: number): number {
  const date = new Date(day);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth() + months];
  return Math.min(Date.UTC(year, month, date.getUTCDate()), Date.UTC(year, month + 1, 0));
}

/** Returns the day that a key moves to. */
export function movedDay(
  day: number,
  { key, shiftKey }: Pick<KeyboardEvent, 'key' | 'shiftKey'>,
  weekStart: WeekStart,
): number | undefined {
  const weekday = weekdayOf(day, weekStart);
  const moves: Record<string, number> = {
    ArrowLeft: day - DAY,
    ArrowRight: day + DAY,
    ArrowUp: day - 7 * DAY,
    ArrowDown: day + 7 * DAY,
    Home: day - weekday * DAY,
    End: day + (6 - weekday) * DAY,
    PageUp: addMonth(day, shiftKey ? -12 : -1),
    PageDown: addMonth(day, shiftKey ? 12 : 1),
  };
  return moves[key];
}
