import { offsetAt } from '../../../formats/time-zone.ts';
import { formatOffset, isRepeated, nextDay, wallOf, type Zone } from '../calendar.ts';

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAY = 86_400_000;

/**
 * Formats the range of a bucket as people say it: `Sat 14 Nov 2026`, `14 Nov 2026, 14:00–15:00`, `9–15 Nov 2026`,
 * `Nov 2026`, `2026`.
 *
 * @param start the first moment, in milliseconds since 1970
 * @param end the moment after the last
 */
export function bucketText(zone: Zone, start: number, end: number): string {
  const isWholeDays = isMidnight(zone, start) && isMidnight(zone, end);
  const from = new Date(wallOf(zone, start));
  if (!isWholeDays) {
    const to = new Date(wallOf(zone, end));
    const isSameDay = from.getTime() - (from.getTime() % DAY) === to.getTime() - 1 - ((to.getTime() - 1) % DAY);
    const last = isSameDay ? timeText(zone, end) : `${dayText(to)} ${to.getUTCFullYear()}, ${timeText(zone, end)}`;
    return `${dayText(from)} ${from.getUTCFullYear()}, ${timeText(zone, start)}${isSameDay ? '–' : ' – '}${last}`;
  }
  const to = new Date(wallOf(zone, end - 1));
  const [year, lastYear] = [from.getUTCFullYear(), to.getUTCFullYear()];
  const [month, lastMonth] = [from.getUTCMonth(), to.getUTCMonth()];
  if (nextDay(zone, start) >= end) return `${WEEKDAYS[from.getUTCDay()]} ${dayText(from)} ${year}`;
  const isWholeMonths = from.getUTCDate() === 1 && new Date(to.getTime() + DAY).getUTCDate() === 1;
  if (isWholeMonths && year === lastYear) {
    if (month === 0 && lastMonth === 11) return String(year);
    return month === lastMonth ? `${MONTHS[month]} ${year}` : `${MONTHS[month]} – ${MONTHS[lastMonth]} ${year}`;
  }
  if (year !== lastYear) return `${dayText(from)} ${year} – ${dayText(to)} ${lastYear}`;
  return month === lastMonth
    ? `${from.getUTCDate()}–${dayText(to)} ${year}`
    : `${dayText(from)} – ${dayText(to)} ${year}`;
}

/** Formats the start of a bucket briefly: `16 Oct`, or `16 Oct, 14:00` if it is not midnight. */
export function bucketStartText(zone: Zone, start: number): string {
  const day = dayText(new Date(wallOf(zone, start)));
  return isMidnight(zone, start) ? day : `${day}, ${timeText(zone, start)}`;
}

function isMidnight(zone: Zone, moment: number): boolean {
  return nextDay(zone, moment - 1) === moment;
}

function dayText(wall: Date): string {
  return `${wall.getUTCDate()} ${MONTHS[wall.getUTCMonth()]}`;
}

/** Formats a time of day: with seconds if there are any, and with the UTC offset if it occurs twice. */
function timeText(zone: Zone, moment: number): string {
  const text = new Date(wallOf(zone, moment)).toISOString();
  const time = text.slice(17, 19) === '00' ? text.slice(11, 16) : text.slice(11, 19);
  return isRepeated(zone, moment) ? `${time} ${formatOffset(offsetAt(zone, moment))}` : time;
}
