import { useEffect, useRef, useState } from 'preact/hooks';
import type { WeekStart } from '../address.ts';
import { DAY } from '../time.ts';
import { LOCALE } from './range-text.ts';

interface MonthGridProps {
  /** Days are the wall times of their midnights, as if they were UTC. */
  readonly today: number;
  /** The selected days, inclusive. */
  readonly first: number;
  readonly last: number;
  readonly weekStart: WeekStart;
  readonly onPick: (day: number) => void;
}

const format = (options: Intl.DateTimeFormatOptions) =>
  new Intl.DateTimeFormat(LOCALE, { timeZone: 'UTC', ...options });
const MONTH_NAME = format({ month: 'long', year: 'numeric' });
const DAY_NAME = format({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const WEEKDAY = { short: format({ weekday: 'short' }), long: format({ weekday: 'long' }) };

/** A month as a grid of days. Its keys are those of the date grid in the ARIA Authoring Practices. */
export function MonthGrid({ today, first, last, weekStart, onPick }: MonthGridProps) {
  // the day that Tab reaches; its month is shown
  const [active, setActive] = useState(last);
  const [mustFocus, setMustFocus] = useState(false);
  const grid = useRef<HTMLTableElement>(null);
  useEffect(() => setActive(last), [last]);
  useEffect(() => {
    if (!mustFocus) return;
    setMustFocus(false);
    grid.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
  }, [mustFocus]);

  const days = monthDays(active, weekStart);
  const onKeyDown = (event: KeyboardEvent) => {
    const target = movedDay(active, event, weekStart);
    if (target === undefined) return;
    event.preventDefault();
    setActive(target);
    setMustFocus(true);
  };
  return (
    <div class="month" lang={LOCALE}>
      <div class="month-head">
        <button
          type="button"
          class="icon"
          lang="en"
          aria-label="Previous month"
          onClick={() => setActive(addMonth(active, -1))}
        >
          ‹
        </button>
        <b aria-live="polite">{MONTH_NAME.format(active)}</b>
        <button
          type="button"
          class="icon"
          lang="en"
          aria-label="Next month"
          onClick={() => setActive(addMonth(active, 1))}
        >
          ›
        </button>
      </div>
      <table ref={grid} role="grid" aria-label={MONTH_NAME.format(active)} onKeyDown={onKeyDown}>
        <thead>
          <tr>
            {days.slice(0, 7).map((day) => (
              <th scope="col" key={day} abbr={WEEKDAY.long.format(day)}>
                {WEEKDAY.short.format(day)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: days.length / 7 }, (_, week) => days.slice(week * 7, week * 7 + 7)).map((week) => (
            <tr key={week[0]}>
              {week.map((day) => (
                <td
                  key={day}
                  aria-selected={day >= first && day <= last}
                  class={[
                    ...(isSameMonth(day, active) ? [] : ['other']),
                    ...(day === first ? ['first'] : []),
                    ...(day === last ? ['last'] : []),
                  ].join(' ')}
                >
                  <button
                    type="button"
                    tabIndex={day === active ? 0 : -1}
                    aria-label={DAY_NAME.format(day)}
                    aria-current={day === today ? 'date' : undefined}
                    onClick={() => {
                      setActive(day);
                      onPick(day);
                    }}
                  >
                    {new Date(day).getUTCDate()}
                  </button>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Returns how many days a day is after the start of its week. */
function weekdayOf(day: number, weekStart: WeekStart): number {
  return (new Date(day).getUTCDay() + (weekStart === 'monday' ? 6 : 0)) % 7;
}

/** Returns the days of the weeks that contain the days of a month. */
function monthDays(day: number, weekStart: WeekStart): number[] {
  const date = new Date(day);
  const first = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  const start = first - weekdayOf(first, weekStart) * DAY;
  // always six weeks, so that the panel keeps its height
  return Array.from({ length: 42 }, (_, i) => start + i * DAY);
}

function isSameMonth(day: number, other: number): boolean {
  return new Date(day).toISOString().slice(0, 7) === new Date(other).toISOString().slice(0, 7);
}

/** Adds months to a day. The 31st becomes the last day of a shorter month. */
function addMonth(day: number, months: number): number {
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
