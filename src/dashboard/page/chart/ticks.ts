import { offsetAt, timeOf, timesOf } from '../../../formats/time-zone.ts';
import { formatOffset, isRepeated, wallOf, type Zone } from '../calendar.ts';

/** In seconds, like all times of a plot. */
const DAY = 86_400;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Distances between ticks, in seconds. Approximate from one day up, because those ticks follow the calendar. */
export const TICK_DISTANCES: number[] = [
  ...[1, 5, 10, 15, 30],
  ...[1, 5, 10, 15, 30].map((minutes) => minutes * 60),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 3600),
  ...[1, 2, 4, 7, 14].map((days) => days * DAY),
  ...[1, 2, 3, 6].map((months) => months * MONTH),
  ...[1, 2, 5, 10, 25, 50, 100].map((years) => years * YEAR),
];

/** Returns the distances for a chart: days and more where its buckets are no shorter, because hours say nothing there. */
export function tickDistances(bucketSeconds: number): number[] {
  const isOfDays = bucketSeconds >= DAY - 3600; // clocks can skip an hour
  return isOfDays ? TICK_DISTANCES.filter((distance) => distance >= DAY) : TICK_DISTANCES;
}

/**
 * Returns the ticks of a time axis, at round wall times. A wall time that occurs twice gets two ticks.
 *
 * @param distance one of {@link TICK_DISTANCES}
 * @returns ascending seconds since 1970
 */
export function ticksBetween(zone: Zone, from: number, to: number, distance: number): number[] {
  const ticks = wallTicks(zone, from, to, distance).flatMap((wall) => {
    // where clocks skip midnight, the tick is at the start of the day
    if (distance >= DAY) return timeOf(zone, wall * 1000) / 1000;
    return timesOf(zone, wall * 1000).map((moment) => moment / 1000);
  });
  return [...new Set(ticks)].filter((tick) => tick >= from && tick <= to).sort((a, b) => a - b);
}

/** Returns evenly spaced wall times that cover at least the range. */
function wallTicks(zone: Zone, from: number, to: number, distance: number): number[] {
  const [start, end] = [wallOf(zone, from * 1000) / 1000 - DAY, wallOf(zone, to * 1000) / 1000 + DAY];
  const walls: number[] = [];
  if (distance < MONTH) {
    // weeks begin on Monday; 1970-01-05 was one
    const origin = distance % (7 * DAY) === 0 ? 4 * DAY : 0;
    const first = Math.floor((start - origin) / distance) * distance + origin;
    for (let wall = first; wall <= end; wall += distance) walls.push(wall);
    return walls;
  }
  const step = distance < YEAR ? distance / MONTH : (distance / YEAR) * 12;
  const date = new Date(start * 1000);
  const first = Math.floor((date.getUTCFullYear() * 12 + date.getUTCMonth()) / step) * step;
  for (let month = first, wall = 0; ; month += step) {
    wall = Date.UTC(Math.floor(month / 12), month % 12) / 1000;
    if (wall > end) return walls;
    walls.push(wall);
  }
}

/** Returns the labels of ticks. A tick that starts a new day or year gets a second line with the date or year. */
export function tickLabels(zone: Zone, ticks: readonly number[], distance: number): string[] {
  const texts = ticks.map((tick) => new Date(wallOf(zone, tick * 1000)).toISOString());
  return texts.map((text, i) => {
    const before = texts[i - 1];
    const year = text.slice(0, 4);
    const isNewYear = before?.slice(0, 4) !== year;
    const month = MONTHS[Number(text.slice(5, 7)) - 1] ?? '';
    const day = `${Number(text.slice(8, 10))} ${month}`;
    if (distance >= YEAR) return year;
    if (distance >= DAY) return [distance >= MONTH ? month : day, ...(isNewYear ? [year] : [])].join('\n');
    const moment = (ticks[i] ?? 0) * 1000;
    const time = text.slice(11, distance < 60 ? 19 : 16);
    const offset = isRepeated(zone, moment) ? [formatOffset(offsetAt(zone, moment))] : [];
    const isNewDay = before?.slice(0, 10) !== text.slice(0, 10);
    return [time, ...offset, ...(isNewDay ? [isNewYear ? `${day} ${year}` : day] : [])].join('\n');
  });
}
