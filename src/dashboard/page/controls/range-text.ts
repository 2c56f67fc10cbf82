import { type Range, startOf, wallOf, type Zone } from '../calendar.ts';

/** The reader's locale, for dates only. */
export const LOCALE = Intl.DateTimeFormat().resolvedOptions().locale;

/** Returns whether a range starts and ends at local midnight. */
function isWholeDays({ from, to }: Range, zone: Zone): boolean {
  return [from, to].every((end) => startOf('day', zone, end.getTime()) === end.getTime());
}

/**
 * Formats a range in the reader's format, as briefly as possible: without times if it consists of whole days, and
 * without the year if it is the current one.
 */
export function rangeText(range: Range, zone: Zone, now: Date, locale = LOCALE): string {
  const isWhole = isWholeDays(range, zone);
  const wall = (moment: Date) => new Date(wallOf(zone, moment.getTime()));
  const first = wall(range.from);
  // the end is exclusive: the last day is the one before
  const last = isWhole ? wall(new Date(range.to.getTime() - 1)) : wall(range.to);
  const year = wall(now).getUTCFullYear();
  const isThisYear = first.getUTCFullYear() === year && last.getUTCFullYear() === year;
  const format = new Intl.DateTimeFormat(locale, {
    timeZone: 'UTC',
    day: 'numeric',
    month: 'short',
    ...(!isThisYear && { year: 'numeric' }),
    // 24 hours, as on the axes
    ...(!isWhole && { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
  });
  return format.formatRange(first, last);
}

const COMPARISON_TEXTS = { previous: 'previous', year: 'previous year', weekdays: 'matching weekdays' } as const;

/** Names the period that a range is compared with: `vs previous`. */
export function comparisonText(comparison: keyof typeof COMPARISON_TEXTS): string {
  return `vs ${COMPARISON_TEXTS[comparison]}`;
}
