import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { WeekStart } from '../address.ts';
import { addMonth, isSameMonth, monthDays, movedDay } from './days.ts';
import { Chevron } from './icons.tsx';
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
  // layout effects, so that no key is handled in between
  useLayoutEffect(() => setActive(last), [last]);
  useLayoutEffect(() => {
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
          <Chevron />
        </button>
        <b aria-live="polite">{MONTH_NAME.format(active)}</b>
        <button
          type="button"
          class="icon"
          lang="en"
          aria-label="Next month"
          onClick={() => setActive(addMonth(active, 1))}
        >
          <Chevron isForward />
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a table is the base of a date grid */}
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
                // biome-ignore lint/a11y/useAriaPropsSupportedByRole: the cells of a grid have the role gridcell
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
